"""What ``BLOONIO_CHAT_TENANTS`` may name: callables, good and bad."""

from __future__ import annotations

from typing import Any

from tests.secrets import OTHER_SECRET, OTHER_TENANT_ID, SECRET

SHOP_B = {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET}


def tenants_from_a_callable() -> dict[str, dict[str, Any]]:
    return {"shop-b": SHOP_B}


def tenants_that_raise() -> dict[str, dict[str, Any]]:
    raise LookupError(SECRET)


def tenants_as_a_list() -> list[str]:
    return [SECRET]


def tenants_of_texts() -> dict[str, str]:
    return {"shop-b": SECRET}


def tenants_without_names() -> dict[None, dict[str, Any]]:
    return {None: SHOP_B}
