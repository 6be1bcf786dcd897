"""Exports to bytes: Parquet, CSV and JSON lines, batch by batch.

JSON lines and CSV are UTF-8. CSV has quotes around every text, so that names may hold commas,
quotes and line ends; lists are JSON in it. Bytes are base64 in both.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from annidx.store.tables import Export

Format = Literal["parquet", "csv", "jsonl"]


def write(export: Export, handle: BinaryIO, form: Format) -> int:
    """Write an export to a handle, which may be a pipe and stays open.

    Returns
    -------
    int
        The number of rows.
    """
    return _WRITERS[form](export, handle)


class _Tap:
    """What pyarrow writes into. Shut, it swallows: a writer that is given up writes an end."""

    closed = False

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._done = 0
        self.is_shut = False

    def write(self, data: bytes) -> int:
        if not self.is_shut:
            self._handle.write(data)
        self._done += len(data)
        return len(data)

    def tell(self) -> int:  # a pipe cannot
        return self._done

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def _drain(batches: Iterator[pa.RecordBatch], writer: Any, tap: _Tap) -> int:
    rows = 0
    with writer:
        try:
            for batch in batches:
                writer.write_batch(batch)
                rows += len(batch)
        except BaseException:
            tap.is_shut = True
            raise
    return rows


def _parquet(export: Export, handle: BinaryIO) -> int:
    tap = _Tap(handle)
    writer = pq.ParquetWriter(tap, export.schema, compression="zstd")
    return _drain(export.batches, writer, tap)


def _csv(export: Export, handle: BinaryIO) -> int:
    tap = _Tap(handle)
    fields = [
        pa.field(each.name, pa.string()) if _is_nested(each.type) else each
        for each in export.schema
    ]
    schema = pa.schema(fields)
    writer = pyarrow.csv.CSVWriter(tap, schema)
    return _drain((_flat(batch, schema) for batch in export.batches), writer, tap)


def _jsonl(export: Export, handle: BinaryIO) -> int:
    rows = 0
    for batch in export.batches:
        rows += len(batch)
        lines = (json.dumps(_json_fields(row), ensure_ascii=False) for row in batch.to_pylist())
        handle.write("".join(f"{line}\n" for line in lines).encode())
    return rows


_WRITERS: dict[Format, Callable[[Export, BinaryIO], int]] = {
    "parquet": _parquet,
    "csv": _csv,
    "jsonl": _jsonl,
}


def _json_fields(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as elsewhere in JSON: base64 stands only beside what is not UTF-8."""
    return {
        key: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for key, value in row.items()
        if value is not None or not key.endswith("_base64")
    }


def _is_nested(kind: pa.DataType) -> bool:
    """Tell whether a CSV cell holds it only as text."""
    return bool(pa.types.is_list(kind) or pa.types.is_fixed_size_binary(kind))


def _flat(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        pa.array([_text(value) for value in column.to_pylist()], pa.string())
        if _is_nested(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return None if value is None else json.dumps(value, ensure_ascii=False)
