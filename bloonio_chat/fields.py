"""The column type of the relay's ids, which every room that has tables uses."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from bloonio_chat.sdk.events import LONGEST_ID


class RelayIdField(models.CharField):  # type: ignore[type-arg]  # generic in the stubs alone, not when it runs
    """A text column for an opaque id of the relay (protocol §1): 255 characters, compared character by character.

    MariaDB and MySQL would otherwise take ``ABC``, ``abc`` and ``abc `` for one id.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", LONGEST_ID)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, dict[str, Any]]:
        """Leave the length out of migrations: it is the type's own."""
        name, path, args, kwargs = super().deconstruct()
        if kwargs.get("max_length") == LONGEST_ID:
            del kwargs["max_length"]
        return name, path, args, kwargs

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        """Return the column's type and collation on this database."""
        parameters: dict[str, Any] = dict(super().db_parameters(connection))
        if connection.vendor == "mysql":
            parameters["collation"] = _binary_collation(connection)
        return parameters


def _binary_collation(connection: Any) -> str:
    # utf8mb4_bin is not enough: it ignores spaces at the end.
    return "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
