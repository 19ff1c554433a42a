"""E004: whether the relay's posts, sent to ``CALLBACK_BASE_URL``, would reach the mounted routes."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import Client
from django.utils.translation import get_language, override

from tests.callbacks.relay import PREFIX, envelope, signed, written

# One of the checks that run with this one asks the database when the last sweep of the inbox was.
pytestmark = pytest.mark.django_db


def e004() -> str:
    """What the check says; nothing where it is silent."""
    messages = run_checks(databases=["default"])
    told = [f"{message.msg} {message.hint}" for message in messages if message.id == "bloonio_chat.E004"]
    assert len(told) <= 1
    return "".join(told)


def taken_at(path: str) -> bool:
    body = written(envelope())
    return Client().post(path, body, "application/json", headers=signed(body)).status_code == 200


def test_without_a_base_url_there_is_nothing_to_compare(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.callbacks.odd_urls"
    assert e004() == ""


@pytest.mark.parametrize("base", ["https://shop.example", "https://shop.example/", "http://[::1]:8000"])
def test_the_usual_mount_is_found(settings: Any, base: str) -> None:
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = base
    assert e004() == ""


@pytest.mark.parametrize("base", ["", "shop.example", "ftp://shop.example", "https://", "http://[::1", "https:///x"])
def test_what_is_no_url_is_said_and_the_other_checks_go_on(settings: Any, base: str) -> None:
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = base
    assert "BLOONIO_CHAT_CALLBACK_BASE_URL is not an http(s) URL" in e004()
    run_checks(include_deployment_checks=True, databases=["default"])


def test_a_path_where_nothing_is_mounted_is_said_with_what_to_add(settings: Any) -> None:
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "https://shop.example/eu"
    said = e004()
    assert "post to /eu/api/v1/chat-callbacks/conversation-started" in said
    assert "Add path('eu/api/v1/chat-callbacks/', include('bloonio_chat.urls')) to the root URLconf" in said
    assert "(it is mounted at /api/v1/chat-callbacks/)" in said


def test_another_view_at_that_path_is_no_callback(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.callbacks.odd_urls"
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "https://shop.example"
    assert "(it is mounted at /hooks/)" in e004()


def test_routes_that_are_not_mounted_at_all(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.callbacks.no_urls"
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "https://shop.example"
    assert "root URLconf." in e004()


def test_a_mount_below_a_prefix_and_a_namespace_is_found(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.callbacks.odd_urls"
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "https://shop.example/shop"
    assert e004() == ""
    assert taken_at("/shop" + PREFIX + "message-received")


@pytest.mark.parametrize("language", ["en", "fr", "pt-br"])
def test_a_mount_below_a_languages_prefix_is_found_in_any_language(settings: Any, language: str) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    settings.ROOT_URLCONF = "tests.callbacks.i18n_urls"
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = f"https://shop.example/{language}"
    with override("de"):
        assert e004() == ""
        assert get_language() == "de"
    assert taken_at(f"/{language}{PREFIX}message-received")
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "https://shop.example"
    assert "chat-callbacks/conversation-started" in e004()


@pytest.mark.parametrize("script_name", ["/shop", "/shop/"])
def test_a_project_that_is_served_below_a_script_name(settings: Any, script_name: str) -> None:
    settings.FORCE_SCRIPT_NAME = script_name
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "https://example.com/shop"
    assert e004() == ""
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "https://example.com/shop/eu"
    assert "Add path('eu/api/v1/chat-callbacks/'" in e004()
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "https://example.com/shopping"
    assert "post to /shopping/api" in e004()


def test_what_the_check_resolves_is_what_a_stranger_reaches_behind_the_login_middleware(settings: Any) -> None:
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "https://shop.example"
    assert "django.contrib.auth.middleware.LoginRequiredMiddleware" in settings.MIDDLEWARE
    assert e004() == ""
    assert taken_at(PREFIX + "message-received")
