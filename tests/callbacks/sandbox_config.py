"""An app that a project lists by its configuration, as it may."""

from django.apps import AppConfig


class NamedSandboxConfig(AppConfig):
    name = "bloonio_chat.sandbox"
