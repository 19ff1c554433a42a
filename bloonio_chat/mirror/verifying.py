"""``bloonio_verify``: compares the mirror with the relay, row by row and column by column; nothing is changed.

``equal`` rows say what the relay says; ``missing`` ones are not here, ``stale`` ones say something else, ``extra`` ones
the relay does not have, and of ``unknown`` ones it can't be told, for a reason that is counted beside them. A tenant at
which nothing could be told, suspended or of a relay without the routes or whose answers can't be read, is counted in
``tenants_not_compared``.
"""

from __future__ import annotations

import logging
import random as random_module
import time
from collections.abc import Callable, Mapping
from typing import Any

from bloonio_chat.callbacks.ports import Report
from bloonio_chat.mirror.examining import Examination
from bloonio_chat.mirror.findings import FORBIDDEN, Findings
from bloonio_chat.mirror.pacing import PacedCaller, Pacing
from bloonio_chat.mirror.sync import tenants_of
from bloonio_chat.sdk.errors import ChatRelayError, ChatRelayForbiddenError

logger = logging.getLogger("bloonio_chat.mirror")


def verify(
    options: Mapping[str, Any],
    report: Report,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = random_module.random,
) -> Mapping[str, int]:
    """Compare, and return how many rows were found to be what (:class:`~bloonio_chat.mirror.findings.Findings`).

    ``options`` has the command's: ``tenant``, and ``sample`` for how many conversations and how many tickets to look
    at, of each tenant. A tenant whose relay fails holds up no other; the first such error is raised in the end. Raises
    ``ValueError`` for a sample of none, and ``ChatRelayConfigurationError`` for a tenant that is not set.
    """
    sample = options["sample"]
    if sample is not None and sample < 1:
        raise ValueError("--sample is at least 1.")
    pacing, findings = Pacing(report, clock=clock, sleep=sleep, random=random), Findings(report)
    examinations = [Examination(PacedCaller(tenant, pacing), findings) for tenant in tenants_of(options["tenant"])]
    report.total(sum(examination.total() for examination in examinations) if sample is None else None)
    errors = []
    for examination in examinations:
        compared_before, before = findings.compared, findings.so_far
        try:
            if sample is None:
                examination.all()
            else:
                examination.sample(sample)
        except ChatRelayForbiddenError:
            examination.give_up(FORBIDDEN, compared_before)
        except ChatRelayError as error:
            report.line(f"Tenant {examination.caller.tenant} is left unfinished: {error}")
            errors.append(error)
            continue
        if findings.so_far.told == before.told and findings.so_far.hidden > before.hidden:
            findings.note_not_compared()
            # For the task too, whose other lines are no errors: a mirror that nobody can check is no sound one.
            logger.error("Tenant %s: nothing could be compared with the relay.", examination.caller.tenant)
    if errors:
        raise errors[0]
    return findings.counts()
