"""annidx.search.threads: results in order, errors passed on, tasks read only as needed."""

from __future__ import annotations

import itertools
import os
import threading
import time

import pytest

from annidx.search.threads import ahead


def test_in_order_whatever_takes_longer() -> None:
    def work(task: int) -> int:
        time.sleep(0.002 * (task % 3))
        return task * task

    assert list(ahead(work, range(50), threads=4)) == [task * task for task in range(50)]


def test_tasks_are_read_as_needed() -> None:
    tasks = itertools.count()
    results = ahead(abs, tasks, threads=2)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert next(tasks) < 20


def test_an_error_reaches_the_caller_and_ends_the_threads() -> None:
    def work(task: int) -> int:
        if task == 3:
            message = "the fourth"
            raise ValueError(message)
        return task

    before = threading.active_count()
    results = ahead(work, range(100), threads=2)
    with pytest.raises(ValueError, match="the fourth"):
        list(results)
    assert threading.active_count() == before


def test_no_tasks() -> None:
    assert list(ahead(abs, [])) == []


def test_a_system_that_tells_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert list(ahead(abs, range(9))) == list(range(9))
