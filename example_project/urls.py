from django.contrib import admin
from django.urls import include, path

from example_project.desk import views

urlpatterns = [
    path("", views.index, name="index"),
    path("ask", views.ask, name="ask"),
    path("admin/", admin.site.urls),
    path("api/v1/chat-callbacks/", include("bloonio_chat.urls")),
]
