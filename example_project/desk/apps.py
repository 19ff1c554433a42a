from django.apps import AppConfig


class DeskConfig(AppConfig):
    name = "example_project.desk"
    label = "desk"

    def ready(self) -> None:
        from example_project.desk import receivers  # noqa: F401  # importing it connects them
