from django.urls import include, path

from example_project.desk import views

urlpatterns = [
    path("", views.index, name="index"),
    path("ask", views.ask, name="ask"),
    path("api/v1/chat-callbacks/", include("bloonio_chat.urls")),
]
