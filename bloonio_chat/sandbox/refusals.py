"""What the relay refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):  # noqa: N818  # it is an outcome with an answer, not a fault of this program
    """What was asked is refused: over HTTP with ``status``, in a test as this exception.

    ``detail`` is FastAPI's list of problems, or a text, where the framework refuses; ``headers`` go with the answer.
    """

    def __init__(
        self, status: int, message: str, *, detail: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.detail = detail
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"
