"""What a caller passes, checked and written down before anything is sent.

Each function raises :class:`~bloonio_chat.sdk.errors.ChatRelayArgumentError`, which names the argument, never its
value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final
from urllib.parse import urlencode

from pydantic_core import PydanticSerializationError, to_json

from bloonio_chat.sdk.errors import ChatRelayArgumentError

_LARGEST_NUMBER: Final = 2**63 - 1


def check_text(name: str, value: object, *, longest: int | None = None) -> str:
    """Return a text that is not empty, nor longer than ``longest`` characters."""
    if not isinstance(value, str):
        raise ChatRelayArgumentError(f"{name} must be text, not {type(value).__name__}.")
    if not value:
        raise ChatRelayArgumentError(f"{name} is empty.")
    if longest is not None and len(value) > longest:
        raise ChatRelayArgumentError(f"{name} has {len(value)} characters; the relay takes {longest} at the most.")
    # An enum's member is a text too, and would be written as its name.
    return str.__str__(value)


def check_number(name: str, value: object, *, smallest: int, largest: int = _LARGEST_NUMBER) -> int:
    """Return a whole number within its bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ChatRelayArgumentError(f"{name} must be a whole number, not {type(value).__name__}.")
    if not smallest <= value <= largest:
        bounds = f"at least {smallest}" if largest == _LARGEST_NUMBER else f"from {smallest} to {largest}"
        # Python refuses to write down a number of thousands of digits.
        shown = value if abs(value) <= _LARGEST_NUMBER else "out of range"
        raise ChatRelayArgumentError(f"{name} is {shown}; the relay takes {bounds}.")
    return value


def check_email_hash(value: object) -> str:
    """Return the hash of an email, in the form of protocol §3."""
    if not isinstance(value, str) or not re.fullmatch(r"sha256:[0-9a-fA-F]{64}", value):
        raise ChatRelayArgumentError("visitor_email_hash must be sha256: and 64 hexadecimal digits, never the email.")
    return value


def check_choice(name: str, value: object, kind: type[Enum]) -> str:
    """Return the value of one of an enum's members: the relay takes no others."""
    values = [str(member.value) for member in kind]
    if not isinstance(value, str) or str(value) not in values:
        raise ChatRelayArgumentError(f"{name} must be one of {', '.join(values)}.")
    return str(value)


def check_texts(name: str, values: object) -> list[str] | None:
    """Return a list of texts, each of them not empty."""
    if values is None:
        return None
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ChatRelayArgumentError(f"{name} must be a list of texts, not {type(values).__name__}.")
    return [check_text(f"an entry of {name}", value) for value in values]


def check_object(name: str, value: object) -> dict[str, Any] | None:
    """Return a mapping as what JSON calls an object."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ChatRelayArgumentError(f"{name} must be a mapping, not {type(value).__name__}.")
    return dict(value)


def json_body(**fields: Any) -> bytes:
    """Return the JSON in UTF-8 of the fields that are given; ``None`` is not."""
    try:
        return to_json({name: value for name, value in fields.items() if value is not None}, inf_nan_mode="strings")
    except (PydanticSerializationError, UnicodeEncodeError, ValueError):
        pass
    # Raised out here: the error that was caught quotes the arguments.
    raise ChatRelayArgumentError(f"One of {', '.join(fields)} can't be written as JSON in UTF-8.")


def query_string(**fields: str | int | None) -> str:
    """Return the percent-encoded query of the fields that are given; ``None`` is not."""
    try:
        return urlencode({name: value for name, value in fields.items() if value is not None})
    except UnicodeEncodeError:
        pass
    raise ChatRelayArgumentError(f"One of {', '.join(fields)} can't be written in UTF-8.")
