"""Answers as Arrow tables: what :meth:`annidx.index.Index.pairs` returns, and what exports hold.

docs/parquet.md describes every column of an export.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from annidx.found import Pair

AT_ONCE = 16_384
"""Rows of a batch: 110 to 130 MB for the whole process, with descriptors 190 to 320, measured."""

_SCHEMA = pa.schema(
    [
        pa.field("a", pa.string(), nullable=False),
        pa.field("b", pa.string(), nullable=False),
        pa.field("distance", pa.float64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)

PAIRS = pa.schema(
    [
        ("a", pa.string()),
        ("a_base64", pa.string()),
        ("b", pa.string()),
        ("b_base64", pa.string()),
        ("distance", pa.float64()),
        ("metric", pa.string()),
        ("kind", pa.string()),
        ("low_information", pa.bool_()),
        ("score", pa.float64()),
        ("chance", pa.float64()),
        ("extrapolated", pa.bool_()),
        ("explanation", pa.string()),
    ]
)
"""Columns of exported pairs that were found by fingerprint."""

_SEEN = ("score", "chance", "extrapolated", "explanation")
NEAR_PAIRS = pa.schema([field for field in PAIRS if field.name not in _SEEN])
"""Columns of other exported pairs."""

GROUPS = pa.schema(
    [
        ("group", pa.int64()),
        ("linkage", pa.string()),
        ("metric", pa.string()),
        ("group_size", pa.int64()),
        ("diameter", pa.float64()),
        ("weakest", pa.float64()),
        ("freed_bytes", pa.int64()),
        ("path", pa.string()),
        ("path_base64", pa.string()),
        ("size", pa.int64()),
        ("protected", pa.bool_()),
    ]
)
"""Columns of exported groups, one row a picture."""

PICTURES = pa.schema(
    [
        ("image_id", pa.int64()),
        ("path", pa.string()),
        ("path_base64", pa.string()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("orientation", pa.int8()),
        ("taken", pa.string()),
        ("camera", pa.string()),
        ("companions", pa.list_(pa.string())),
        ("companions_base64", pa.list_(pa.string())),
        ("content_hash", pa.string()),
        ("pixel_hash", pa.string()),
        ("first_seen_ns", pa.int64()),
        ("read_ns", pa.int64()),
        ("device", pa.uint64()),
        ("inode", pa.uint64()),
    ]
)
"""Columns of exported pictures; descriptors follow them."""


@dataclass(frozen=True, slots=True)
class Export:
    """Rows on their way out: their columns, and batches that are made when they are asked for."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def pairs_table(pairs: Iterable[Pair], metadata: dict[str, str]) -> pa.Table:
    """Return pairs as a table a, b, distance, kind; the answer's facts are in its metadata.

    Paths that are not UTF-8 get replacement characters; ask for pairs as objects to have the bytes.
    """
    schema = _SCHEMA.with_metadata(metadata)
    source = iter(pairs)
    batches = []
    while rows := list(islice(source, AT_ONCE)):  # objects take ten times the table
        columns = {
            "a": [pair.raw_a.decode(errors="replace") for pair in rows],
            "b": [pair.raw_b.decode(errors="replace") for pair in rows],
            "distance": [pair.distance for pair in rows],
            "kind": [pair.kind for pair in rows],
        }
        batches.append(pa.RecordBatch.from_pydict(columns, schema))
    return pa.Table.from_batches(batches, schema)


def export_rows(
    schema: pa.Schema, rows: Iterable[Mapping[str, Any]], metadata: Mapping[str, str]
) -> Export:
    """Return rows with the columns of `schema` as an export; a key that a row lacks is null."""
    described = schema.with_metadata(metadata)
    source = iter(rows)
    chunks = iter(lambda: list(islice(source, AT_ONCE)), [])
    return Export(described, (pa.RecordBatch.from_pylist(part, described) for part in chunks))
