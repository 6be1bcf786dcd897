"""The files of a snapshot as Arrow batches, for exports.

They say what segments say in a form for other tools: paths are absolute and text, hashes are hex,
removed rows are left out, and what is unknown is null.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annidx.descriptors import DESCRIPTORS
from annidx.fields import path_fields
from annidx.store.rowset import Rows, Rowset
from annidx.store.segment import Segment
from annidx.store.snapshot import Snapshot
from annidx.store.tables import AT_ONCE, PICTURES, Export

_PATHS = ("path", "path_base64")
_HASHES = ("content_hash", "pixel_hash")
_READ = ["root_id", *(name for name in PICTURES.names if not name.endswith("_base64"))]
_UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(("error", "format", "taken", "camera"), ""),
    **dict.fromkeys(("width", "height", "device", "inode"), 0),
    **dict.fromkeys(_HASHES, bytes(32)),
}
"""What stands for 'unknown' in segments."""


def export_files(
    opened: Snapshot,
    rowset: Rowset,
    *,
    descriptors: Sequence[str] = (),
    passed_over: Collection[str] = (),
    metadata: Mapping[str, str],
) -> Export:
    """Return the live rows of a rowset as an export, in the order of the snapshot.

    Parameters
    ----------
    opened : Snapshot
    rowset : Rowset
        Its pictures, or its other files.
    descriptors : Sequence of str
        Those to put behind the facts.
    passed_over : Collection of str
        Rows with these statuses are left out.
    metadata : Mapping of str to str
        For the schema; the versions of the descriptors are added.
    """
    versions = {name: opened.manifest.descriptors[name] for name in descriptors}
    schema = PICTURES.with_metadata({**metadata, "descriptors": json.dumps(versions)})
    for name in descriptors:
        schema = schema.append(pa.field(name, pa.binary(DESCRIPTORS[name].width)))
    skipped = pa.array(sorted(passed_over), pa.string())

    def batches() -> Iterator[pa.RecordBatch]:
        for segment, start in zip(rowset.segments, rowset.starts[:-1], strict=True):
            (statuses,) = segment.facts(["status"])
            live = rowset.live[start : start + segment.rows]
            wanted = live & ~pc.is_in(statuses, skipped).to_numpy(zero_copy_only=False)
            yield from _of_segment(segment, np.flatnonzero(wanted), opened.folders, schema)

    return Export(schema, batches())


def _of_segment(
    segment: Segment, rows: Rows, folders: Mapping[int, bytes], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Yield rows of a segment; none of it stays in memory."""
    facts = dict(zip(_READ, segment.facts(_READ), strict=True))
    stored = {name: segment.descriptor(name) for name in schema.names if name in DESCRIPTORS}
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        columns = {name: column.take(pa.array(part)) for name, column in facts.items()}
        columns |= _named(columns, folders)
        for name, unknown in _UNKNOWN.items():
            columns[name] = _or_null(columns[name], unknown)
        for name in _HASHES:
            columns[name] = pa.array([each and each.hex() for each in columns[name].to_pylist()])
        for name, block in stored.items():
            columns[name] = _fixed(schema.field(name), block[part])
        yield pa.RecordBatch.from_arrays(
            [columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema
        )


def _named(columns: Mapping[str, pa.Array], folders: Mapping[int, bytes]) -> dict[str, pa.Array]:
    """Return paths and companions as text and, where they are not UTF-8, as base64."""
    roots, relative, beside = (
        columns[name].to_pylist() for name in ("root_id", "path", "companions")
    )
    paths = [
        path_fields("path", folders[root] + path)
        for root, path in zip(roots, relative, strict=True)
    ]
    names = [[path_fields("path", name) for name in each] for each in beside]
    texts = [[name["path"] for name in each] for each in names]
    coded = [[name.get("path_base64") for name in each] for each in names]
    return {
        **{key: pa.array([each.get(key) for each in paths], pa.string()) for key in _PATHS},
        "companions": pa.array(texts, pa.list_(pa.string())),
        # As of the paths of a group: null for those that are UTF-8, nothing when all are.
        "companions_base64": pa.array(
            [each if any(each) else None for each in coded], pa.list_(pa.string())
        ),
    }


def _or_null(column: pa.Array, unknown: Any) -> pa.Array:
    return pc.if_else(pc.equal(column, pa.scalar(unknown, column.type)), None, column)


def _fixed(field: pa.Field, block: np.ndarray[Any, np.dtype[np.uint8]]) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(
        field.type, len(block), [None, pa.py_buffer(block.tobytes())]
    )
