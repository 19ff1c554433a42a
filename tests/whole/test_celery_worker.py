"""The worker of the whole tests itself: what it leaves behind, and when it says that it has nothing in work."""

from __future__ import annotations

import threading

from celery import _state, shared_task

from tests.whole.celery_worker import celery_worker

_began, _may_end = threading.Event(), threading.Event()


@shared_task(name="tests.whole.linger")
def linger() -> str:
    _began.set()
    assert _may_end.wait(60)
    return "done"


def test_it_leaves_celery_as_it_was() -> None:
    # Whatever other tests have left: a flag that keeps tasks from waiting for one another.
    _state._set_task_join_will_block(False)  # type: ignore[attr-defined]  # missing in the stubs
    with celery_worker():
        pass
    assert not _state.task_join_will_block()  # type: ignore[attr-defined]  # as above


def test_what_is_in_work_is_waited_for() -> None:
    _began.clear()
    _may_end.clear()
    with celery_worker() as worker:
        linger.delay()
        assert _began.wait(60)
        threading.Timer(0.3, _may_end.set).start()
        worker.wait_until_idle()
        assert worker.returned("tests.whole.linger") == ["done"]
