"""The project that real servers run: as the tests' own, with a small limit, and with a page that shows what came."""

from tests.settings import *  # noqa: F403  # a settings module is the one place for it

DEBUG = False
ROOT_URLCONF = "tests.callbacks.server_urls"
BLOONIO_CHAT_CALLBACK_MAX_BODY_BYTES = 8192
