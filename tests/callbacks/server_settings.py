"""The project of real servers: the tests' own, without rooms, with a small limit, and a page that shows what came."""

from tests import settings as tests_settings
from tests.settings import *  # noqa: F403  # a settings module is the one place for it

ROOMS = ("bloonio_chat.inbox", "bloonio_chat.mirror")

DEBUG = False
INSTALLED_APPS = [app for app in tests_settings.INSTALLED_APPS if app not in ROOMS]
ROOT_URLCONF = "tests.callbacks.server_urls"
BLOONIO_CHAT_CALLBACK_MAX_BODY_BYTES = 8192
