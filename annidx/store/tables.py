"""Answers as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from annidx.model import Pair

_SCHEMA = pa.schema(
    [
        pa.field("a", pa.string(), nullable=False),
        pa.field("b", pa.string(), nullable=False),
        pa.field("distance", pa.float64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)


def pairs_table(pairs: Iterable[Pair], metadata: dict[str, str]) -> pa.Table:
    """Return pairs as a table a, b, distance, kind; the answer's facts are in its metadata.

    Paths that are not UTF-8 get replacement characters; ask for pairs as objects to have the bytes.
    """
    rows = list(pairs)
    columns = {
        "a": [pair.raw_a.decode(errors="replace") for pair in rows],
        "b": [pair.raw_b.decode(errors="replace") for pair in rows],
        "distance": [pair.distance for pair in rows],
        "kind": [pair.kind for pair in rows],
    }
    return pa.table(columns, schema=_SCHEMA.with_metadata(metadata))
