"""The URLs of the project that :mod:`tests.mirror.screenshots` shows."""

from django.contrib import admin
from django.urls import path
from django.views.decorators.clickjacking import xframe_options_exempt

from tests.mirror.screenshots import phone

urlpatterns = [
    path("admin/", admin.site.urls),
    path("phone/<path:path>", xframe_options_exempt(phone)),
]
