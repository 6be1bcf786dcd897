"""annidx.store.memory: Arrow's memory comes from where it can be given back to."""

from __future__ import annotations

import pyarrow as pa

from annidx.store import memory


def test_arrow_asks_malloc() -> None:
    before = pa.default_memory_pool()
    try:
        memory.use_malloc()
        assert pa.default_memory_pool().backend_name == "system"
    finally:
        pa.set_memory_pool(before)
