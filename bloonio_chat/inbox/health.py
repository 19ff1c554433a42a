"""A view for whoever watches the project, to be mounted where they look; it shows numbers, and no id or name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from bloonio_chat.callbacks.views import callback
from bloonio_chat.conf import get_config
from bloonio_chat.inbox.figures import vitals
from bloonio_chat.inbox.scrubbing import describe
from bloonio_chat.sdk.errors import ChatRelayConfigurationError

logger = logging.getLogger("bloonio_chat.inbox")

_Figures = Mapping[str, "int | float | None"]


@login_not_required
@never_cache
@require_safe
def health(
    request: HttpRequest,
    *,
    overdue_seconds: float | None = 300,
    oldest_seconds: float | None = 3600,
    sweep_seconds: float | None = 3600,
    dead: int | None = None,
) -> JsonResponse:
    """Answer 200 if the inbox is well, 503 if not, with the reasons and :func:`~bloonio_chat.inbox.figures.vitals`.

    Mount it with the limits that are yours; ``None`` looks away::

        path("health/bloonio-chat/", bloonio_chat.inbox.health.health, {"overdue_seconds": 60, "dead": 0})

    ``overdue_seconds``: something has been due for longer, so nobody delivers, or not fast enough. ``oldest_seconds``:
    an event came longer ago and is not delivered yet, be it that a receiver keeps failing. ``sweep_seconds``: the last
    sweep is longer ago, or there was none. ``dead``: more events than that are given up, and neither buried
    nor pruned yet (at most 10,000 are counted).
    """
    try:
        get_config()
    except ChatRelayConfigurationError:
        return _answer({}, ["The configuration is wrong: manage.py check tells."])
    try:
        found = vitals()
    except Exception as error:  # noqa: BLE001  # whatever a database raises that is gone: this is where it is asked
        # Without the traceback: it would come every few seconds.
        logger.error("The inbox's health can't be told: %s", describe(error))  # noqa: TRY400  # as above
        return _answer({}, ["The database can't be asked."])
    limits = {
        "overdue_seconds": overdue_seconds,
        "oldest_undelivered_seconds": oldest_seconds,
        "last_sweep_seconds": sweep_seconds,
        "dead": dead,
    }
    return _answer(found, list(_problems(found, limits)))


# Its transaction would be begun, and fail, before the view could say that the database is gone.
health._non_atomic_requests = callback._non_atomic_requests  # type: ignore[attr-defined]  # an attribute that Django looks for


def _problems(found: _Figures, limits: _Figures) -> Iterator[str]:
    for name, limit in limits.items():
        figure = found[name]
        if limit is None:
            continue
        if figure is None:
            if name == "last_sweep_seconds":
                yield "There was no sweep yet."
        elif figure > limit:
            yield f"{name} is {figure}, more than {limit}."


def _answer(figures: _Figures, problems: list[str]) -> JsonResponse:
    tree = {"healthy": not problems, "problems": problems, "figures": figures}
    return JsonResponse(tree, status=503 if problems else 200)
