"""annidx.service.freeing: what was replaced is looked for until it is gone, ever less often."""

from __future__ import annotations

import gc
from typing import Any, cast

import pyarrow as pa
import pytest

from annidx.index import Index
from annidx.service import freeing
from annidx.service.freeing import Replaced
from tests.service.serving import Served


class Circle:
    """Refers to itself, as an index with its engines does."""

    def __init__(self) -> None:
        self.own = self


def test_it_is_looked_for_half_as_often_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, looked, given_back = [0.0], [], []
    collect: Any = gc.collect

    def watched() -> int:
        looked.append(now[0])
        found: int = collect()
        return found

    monkeypatch.setattr(gc, "collect", watched)
    monkeypatch.setattr(freeing, "give_back_free_memory", lambda: given_back.append(now[0]))
    replaced = Replaced(lambda: now[0])
    replaced.free()
    assert looked == []
    held = Circle()
    replaced.add(cast(Index, held))
    for second in range(40):
        now[0] = float(second)
        if second == 20:
            del held
        replaced.free()
    assert looked == [0, 1, 2, 4, 8, 16, 32]
    assert given_back == [32]


def test_one_that_is_held_does_not_keep_another(monkeypatch: pytest.MonkeyPatch) -> None:
    now, given_back = [0.0], []
    monkeypatch.setattr(freeing, "give_back_free_memory", lambda: given_back.append(now[0]))
    replaced = Replaced(lambda: now[0])
    held = Circle()
    replaced.add(cast(Index, held))
    replaced.add(cast(Index, Circle()))
    replaced.free()
    assert given_back == [0]
    now[0] = 1.0
    replaced.free()
    assert given_back == [0]
    del held
    now[0] = 2.0
    replaced.free()
    assert given_back == [0, 2]


def test_a_service_has_arrow_ask_malloc(served: Served) -> None:
    assert served.get("/livez").status_code == 200
    assert pa.default_memory_pool().backend_name == "system"
