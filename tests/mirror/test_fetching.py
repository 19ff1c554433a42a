"""Reading a list of the relay's: what can't be read hides nothing, and a total that can't be is none."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bloonio_chat.mirror.fetching import Page, paged
from bloonio_chat.sdk import operations, types

NOON = "2026-03-01T12:00:00Z"


def ticket(relay_id: Any, **fields: Any) -> dict[str, Any]:
    return {
        "id": relay_id,
        "tenant_id": "t",
        "ticket_number": "LOK-1",
        "user_id": "v1",
        "subject": "",
        "description": "",
        "priority": "p1",
        "status": "open",
        "created_at": NOON,
        "updated_at": NOON,
        **fields,
    }


def page_of(data: Any) -> Page[types.Ticket]:
    return paged(operations.list_tickets()).parse(data)


@pytest.mark.parametrize("envelope", [lambda items: items, lambda items: {"items": items, "total": 9}])
def test_the_ids_are_those_of_all_in_their_order(envelope: Any, caplog: pytest.LogCaptureFixture) -> None:
    items = [ticket("a"), ticket("b", status=None), ticket(""), ticket(7), ticket("c"), "no object", {"id": "x" * 300}]
    page = page_of(envelope(items))
    assert [each.id for each in page.items] == ["a", "c"]
    assert page.ids == ["a", "b", "", "", "c", "", "x" * 300]
    assert page.unreadable == ["b", "", "", "", "x" * 300]
    assert "list_tickets: left out what is not as the protocol says: 'b', '', '', '', 'xxx" in caplog.text
    assert "x" * 65 not in caplog.text


def test_what_is_all_right_is_read_as_a_whole(caplog: pytest.LogCaptureFixture) -> None:
    page = page_of([ticket("a"), ticket("b")])
    assert (page.ids, page.unreadable, page.total) == (["a", "b"], [], None)
    assert caplog.records == []


@pytest.mark.parametrize("data", [None, "no list", {"items": None}, {"more": []}, 7])
def test_what_is_no_list_is_an_error(data: Any) -> None:
    with pytest.raises(ValidationError):
        page_of(data)


@pytest.mark.parametrize(
    ("total", "is_taken"), [(0, True), (12, True), (-1, False), (True, False), ("12", False), (10**400, False)]
)
def test_a_total_is_a_number_of_objects(total: Any, is_taken: bool) -> None:
    assert page_of({"items": [], "total": total}).total == (total if is_taken else None)
