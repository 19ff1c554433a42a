"""What is kept and logged of errors: enough to mend them, no secret that they quote, nothing that a column refuses."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from bloonio_chat import signals
from bloonio_chat.inbox import scrubbing
from bloonio_chat.inbox.models import InboxEvent, InboxReceipt
from bloonio_chat.inbox.scrubbing import HIDDEN, LONGEST_ERROR, describe, scrub
from tests.callbacks.relay import signed
from tests.inbox.events import hear, keep, run
from tests.secrets import FALLBACK_SECRET, MARK, OTHER_SECRET, OTHER_TENANT_ID, SECRET

SIGNATURE = "0f" * 32
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ2MSJ9.c2lnbmF0dXJlLW9mLWl0"
CANARY = "hunter2-canary"

QUOTES: dict[str, Callable[[str], str]] = {
    "alone": str,
    "in a sentence": "the value {}, which is wrong".format,
    "in quotes": "KeyError('{}')".format,
    "as JSON": lambda secret: json.dumps({"value": secret}),
    "in a query": "https://relay.example/x?value={}&y=1".format,
    "at the ends of lines": "a\n{}\nb".format,
}


@pytest.fixture
def many_secrets(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET_FALLBACKS = [FALLBACK_SECRET]
    settings.BLOONIO_CHAT_TENANTS = {"shop-b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET}}


def raised(error: Exception) -> Exception:
    """The error with a traceback, as it is caught."""

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        fail()
    return caught.value


@pytest.mark.usefixtures("many_secrets")
@pytest.mark.parametrize("quote", QUOTES.values(), ids=QUOTES)
@pytest.mark.parametrize("secret", [SECRET, FALLBACK_SECRET, OTHER_SECRET, SIGNATURE, SIGNATURE.upper(), JWT])
def test_no_secret_signature_or_token_is_described(secret: str, quote: Callable[[str], str]) -> None:
    told = describe(raised(ValueError(quote(secret))))
    assert secret not in told
    assert MARK not in told
    assert HIDDEN in told
    assert told.startswith("ValueError: ")


@pytest.mark.parametrize(
    "text",
    [
        f"postgres://user:{CANARY}@db.example:5432/shop",
        f"amqp://guest:{CANARY}@127.0.0.1//",
        f"redis://:{CANARY}@cache/0",
        f"postgres://user:with@sign{CANARY}@db.example/shop",
        f"https://{CANARY}@git.example/x",
        f"connect(host='db', password='{CANARY}')",
        f'{{"password": "{CANARY}"}}',
        f"{{'api_key': '{CANARY}', 'x': 1}}",
        f"PASSWORD={CANARY}",
        f"password = {CANARY}",
        f"token={CANARY}&x=1",
        f"client_secret: {CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"{{'Authorization': 'Bearer {CANARY}'}}",
        f"authorization: Basic {CANARY}",
        f"secret_key='{CANARY}'",
        f"sk_live_{CANARY}",
        f"Authorization: Token {CANARY}",
        f"{{'Authorization': 'ApiKey {CANARY}'}}",
        f"(b'authorization', b'Token {CANARY}')",
        f"Cookie: csrftoken=x; sessionid={CANARY}",
        f"Set-Cookie: sessionid={CANARY}; HttpOnly",
        f"{{'password': b'{CANARY}'}}",
        f"{{'password': 'two words {CANARY}'}}",
        json.dumps(json.dumps({"password": CANARY})),
        f"PWD={CANARY};UID=sa",
        f"private_key='{CANARY}'",
        f'Authorization: Digest username="x", response="{CANARY}"',
        f'Cookie: a="v"; sessionid={CANARY}',
        f"""(b'cookie', b'a="1"; s={CANARY}')""",
        f"""{{"password": "it's {CANARY}"}}""",
        json.dumps({"password": f'a"{CANARY}'}),
        json.dumps(json.dumps({"password": f'a"{CANARY}'})),
        f"password=['{CANARY}']",
        f"password=u'{CANARY}'",
        f"aws_secret_access_key={CANARY}",
        f"secret-key: {CANARY}",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    told = scrub(f"could not connect: {text}, giving up")
    assert CANARY not in told
    assert HIDDEN in told
    assert told.startswith("could not connect: ")


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'conversation_id'",
        "https://relay.example/api/v1/relay/fetch/ticket?ticket_id=66f1a2b3c4d5e6f708192a3b answered 404",
        "user@example.com is not a customer",
        "sha1 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
        "01900000-0000-7000-8000-000000000001",
        "Key (email)=(a@example.com) already exists.",
        "tokens: 17, passwordless: True",
        "open(password=None, cookie=None, order=5) failed: no such order",
    ],
)
def test_what_is_no_secret_can_be_read(text: str) -> None:
    assert scrub(text) == text


def test_it_says_what_and_where() -> None:
    told = describe(raised(ZeroDivisionError("division by zero")))
    assert told.startswith("ZeroDivisionError: division by zero (in fail, test_scrubbing.py:")
    assert (
        describe(json.JSONDecodeError("bad", "x", 0)) == "json.decoder.JSONDecodeError: bad: line 1 column 1 (char 0)"
    )


def test_a_long_message_is_cut_and_its_place_is_kept() -> None:
    started = time.perf_counter()
    for filling in ("x", "0f", "eyJ", "://a:b@", "password=", "Bearer ", "\ud800\0", "sk_"):
        told = describe(raised(ValueError(filling * (1_000_000 // len(filling)))))
        assert len(told) <= LONGEST_ERROR
        assert "(in fail, test_scrubbing.py:" in told
    # A megabyte of what the patterns look for is not what stops a worker.
    assert time.perf_counter() - started < 20


BEGINNINGS = [
    "", "password", "password=", "password='", 'password="', 'password=\\"', "password=\\'a", "token'", "token' ,",
    "cookie:", "cookie='", "Bearer", "Bearer ", "://", "eyJaaaaaaaa", "sk_a",
]  # fmt: skip
FILLINGS = [
    "\\", "'", '"', "\\'", '\\"', "'\\", "\\\\\\", "=", ":", ",", ".", "/", "@", "-", "_", "[", "(",
    " ", "\t", "\n", "\r", "\u2003", ": ", "= ", "x", "b", "e", "0", "0f", "é", "漢", "\ud800\0", "a/", "a b", "x@",
    "://", "://a", "://a:b@", "eyJ", "eyJaaaaaaaa", "eyJaaaaaaaa.", "-eyJ", "sk_", "-sk_",
    "Bearer", "Bearer ", "Bearer \t", "b'", "password", "password ", "password\n", "password=", "password = ",
    "password='", "password='\\", 'password="x', 'password=\\"', "password='\\\\\\",
    "token,", "token'", "token':", "token' ", "token=None ", "b'token",
    "api", "api_", "secret_", "secret_access_", "private-key ", "authorization:", "cookie= ",
]  # fmt: skip


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_no_text_takes_longer_than_its_length_wants(beginning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "_LONGEST_READ", 1_000_000)
    for filling in FILLINGS:
        text = beginning + filling * (50_000 // len(filling))
        # Of this process alone, however busy the machine is.
        started = time.process_time()
        scrub(text)
        # It takes some 10 ms; what looks at the rest of it again and again takes seconds.
        assert time.process_time() - started < 1, filling


def test_of_a_long_text_the_beginning_is_read() -> None:
    for length in (17_999, 18_000, 20_000):
        assert scrub("x" * length) == "x" * length
    assert scrub("x" * 1_000_000) == "x" * 18_000


@pytest.mark.usefixtures("many_secrets")
@pytest.mark.parametrize(
    ("secret", "part"),
    [(SECRET, MARK), (SIGNATURE, "0f0f"), (f"amqp://guest:{CANARY}@h", "hunter2"), (JWT, JWT[:10])],
    ids=["known", "signature", "URL", "JWT"],
)
def test_a_secret_where_reading_ends_is_hidden_whole(secret: str, part: str) -> None:
    for length in range(20_000 - len(secret), 20_001):
        # Hidden before it is, so much that it would be among what is shown.
        hidden = f"ValueError: token={'x' * (length - 19)} "
        assert len(hidden) == length
        told = describe(ValueError(hidden.removeprefix("ValueError: ") + secret + " y" * 100))
        assert part not in told, length
        assert told == f"ValueError: token={HIDDEN}"


def test_a_secret_at_the_cut_is_hidden_whole() -> None:
    for length in range(LONGEST_ERROR - 200, LONGEST_ERROR):
        assert MARK[:6] not in describe(ValueError("x " * (length // 2) + SECRET)), length


def test_an_error_that_can_t_be_told_is_described_all_the_same() -> None:
    class OddError(Exception):
        __module__ = None  # type: ignore[assignment]  # as some extensions have it

    assert "(its message could not be had)" in describe(raised(MuteError()))
    assert "OddError" in describe(raised(OddError()))
    assert describe(ValueError()) == "ValueError: "


def test_without_a_valid_configuration_patterns_still_hide(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET = ""
    assert scrub(f"{SIGNATURE} sk_live_x {JWT}") == f"{HIDDEN} {HIDDEN} {HIDDEN}"


# ---- in the rows and the log -----------------------------------------------------------------------------------


@pytest.mark.django_db(databases="__all__")
@pytest.mark.usefixtures("database", "many_secrets")
def test_no_row_signal_or_line_of_the_inbox_shows_one(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 1
    # The callbacks' log has the receivers' tracebacks, for their authors: those are theirs.
    monkeypatch.setattr(logging.getLogger("bloonio_chat.callbacks"), "disabled", True)
    told: list[dict[str, str]] = []

    def mourn(errors: dict[str, str], **_: Any) -> None:
        told.append(errors)

    signals.delivery_failed.connect(mourn)
    quoted = f"{SECRET} {FALLBACK_SECRET} {OTHER_SECRET} {JWT} {SIGNATURE} amqp://u:{CANARY}@h {signed(b'')}"

    def fail(_: Any) -> None:
        raise ValueError(quoted)

    hear("plain", fail)
    hear("atomic", fail, atomic=True)
    keep()
    assert run().dead == 1
    everything = [
        *InboxEvent.objects.values_list("last_error", flat=True),
        *InboxReceipt.objects.values_list("last_error", flat=True),
        *(error for errors in told for error in errors.values()),
    ]
    assert len(everything) == 5
    for text in everything:
        assert text.startswith("ValueError: [hidden]")
        for secret in (MARK, JWT[:10], SIGNATURE, CANARY, signed(b"")["X-Bloonio-Signature"]):
            assert secret not in text


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.django_db(databases="__all__")
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    "error",
    [
        ValueError("NUL \0, half a pair \ud800, and a whole one \U0001f642"),
        ValueError("漢🙂" * 500_000),
        ValueError("%s %(x)s ' \" \\ {} {0}"),
        MuteError(),
        KeyError("\udcff"),
    ],
    ids=["odd characters", "a megabyte", "formats and quotes", "mute", "a file's name"],
)
def test_whatever_an_error_says_can_be_stored(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    # How its author's log takes it is not what is tested.
    monkeypatch.setattr(logging.getLogger("bloonio_chat.callbacks"), "disabled", True)

    def fail(_: Any) -> None:
        raise error

    hear("r", fail)
    row = keep()
    assert run().failed == 1
    row.refresh_from_db()
    receipt = InboxReceipt.objects.get(event=row)
    assert receipt.last_error == row.last_error
    assert 0 < len(row.last_error) <= LONGEST_ERROR
    assert type(error).__name__ in row.last_error
