"""Caches that fail, each in its own way; they count and note what they are asked."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.cache.backends.locmem import LocMemCache


class NotingCache(LocMemCache):
    """Notes every operation: its name, key, value and time to live."""

    operations: ClassVar[list[tuple[str, str, Any, Any]]] = []

    def add(self, key: str, value: Any, timeout: Any = None, version: Any = None) -> bool:
        self.note("add", key, value, timeout)
        return super().add(key, value, timeout, version)

    def get(self, key: str, default: Any = None, version: Any = None) -> Any:
        self.note("get", key)
        return super().get(key, default, version)

    def set(self, key: str, value: Any, timeout: Any = None, version: Any = None) -> None:
        self.note("set", key, value, timeout)
        super().set(key, value, timeout, version)

    def delete(self, key: str, version: Any = None) -> bool:
        self.note("delete", key)
        return super().delete(key, version)

    def note(self, name: str, key: str, value: Any = None, timeout: Any = None) -> None:
        self.operations.append((name, key, value, timeout))


class FailingCache(NotingCache):
    """Raises on the ``fails_on``-th operation, counted from one, and on every later one if ``for_good``."""

    fails_on: ClassVar[int] = 0
    for_good: ClassVar[bool] = False

    def note(self, name: str, key: str, value: Any = None, timeout: Any = None) -> None:
        super().note(name, key, value, timeout)
        count = len(self.operations)
        if self.fails_on and (count == self.fails_on or (self.for_good and count > self.fails_on)):
            raise ConnectionError(f"the cache is gone at operation {count}")


class DroppingCache(NotingCache):
    """A cache behind a client that swallows every error, as memcached's do: nothing is kept, nothing is said."""

    def add(self, key: str, value: Any, timeout: Any = None, version: Any = None) -> bool:
        self.note("add", key, value, timeout)
        return False

    def get(self, key: str, default: Any = None, version: Any = None) -> Any:
        self.note("get", key)
        return default
