"""annidx.store.tables: answers as Arrow tables."""

from __future__ import annotations

import pyarrow as pa

from annidx.found import Pair
from annidx.store.tables import pairs_table


def test_pairs_table() -> None:
    pairs = [
        Pair(b"/a.jpg", "/ü.jpg".encode(), 0.0, "thumb", "identical", low_information=False),
        Pair(b"/\xff.jpg", b"/z.jpg", 12.5, "thumb", "similar", low_information=True),
    ]
    table = pairs_table(pairs, {"metric": "thumb"})
    assert table.to_pylist() == [
        {"a": "/a.jpg", "b": "/ü.jpg", "distance": 0.0, "kind": "identical"},
        {"a": "/\ufffd.jpg", "b": "/z.jpg", "distance": 12.5, "kind": "similar"},
    ]
    assert table.schema.types == [pa.string(), pa.string(), pa.float64(), pa.string()]
    assert table.schema.metadata == {b"metric": b"thumb"}


def test_no_pairs_are_a_table_too() -> None:
    table = pairs_table(iter(()), {})
    assert table.num_rows == 0
    assert table.column_names == ["a", "b", "distance", "kind"]
