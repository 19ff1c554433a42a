"""The URLs of the project that :mod:`benchmarks.big_mirror` measures: the admin."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
