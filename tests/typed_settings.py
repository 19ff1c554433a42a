"""What the type checker's Django plugin looks at: the tests' project, and the example's models with it."""

from tests import settings as tests_settings
from tests.settings import *  # noqa: F403  # settings are names in a module

INSTALLED_APPS = [*tests_settings.INSTALLED_APPS, "example_project.desk"]
