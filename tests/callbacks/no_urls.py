"""A project that has not mounted the callbacks."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
