"""The switch that makes the mirror's rows writable: they are copies, and what the project writes to them is lost.

No model is loaded here, so ``from bloonio_chat import mirror`` may stand anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_writable: ContextVar[bool] = ContextVar("bloonio_chat.mirror.is_writable", default=False)


class ReadOnlyError(Exception):
    """The project wrote to a row of the mirror outside ``with mirror.writable():``."""


@contextmanager
def writable() -> Iterator[None]:
    """Let this thread or task write to the mirror's rows within the block, for a project's test factories, say."""
    token = _is_writable.set(True)
    try:
        yield
    finally:
        _is_writable.reset(token)


def require_writable(what: str) -> None:
    """Raise :class:`ReadOnlyError` outside ``with mirror.writable():``. ``what`` is what was called, for people."""
    if not _is_writable.get():
        raise ReadOnlyError(
            f"{what} was called, but the mirror is a copy of what the relay has, and the next event or fetch would "
            "overwrite it: change it at the relay, keep data of your own in a model with a OneToOneField to this one, "
            "or, in tests and migrations, write within `with mirror.writable():`."
        )
