"""Segments: immutable Parquet files of facts and descriptors.

Descriptors are FixedSizeBinary columns without nulls, compression or dictionary, each in one page:
their bytes lie in the file as one block, which is mapped into memory and never copied. Any Parquet
reader (DuckDB, Polars) reads them as well.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from annidx.descriptors import DESCRIPTORS
from annidx.errors import IndexDamaged, IndexTooNew
from annidx.model import File, Record
from annidx.store import files
from annidx.store.manifest import FORMAT, Kind, SegmentEntry, too_new_message
from annidx.store.sealed import Sealed

ROWS = 65_536
"""Most rows of a segment: 88 MB of descriptors, so that a builder's memory stays small."""

_FACTS: tuple[tuple[str, Any], ...] = (
    ("image_id", pa.int64()),
    ("root_id", pa.int32()),
    ("path", pa.binary()),
    ("size", pa.int64()),
    ("mtime_ns", pa.int64()),
    ("device", pa.uint64()),
    ("inode", pa.uint64()),
    ("companions", pa.list_(pa.binary())),
    ("read_ns", pa.int64()),
    ("content_hash", pa.binary(32)),
    ("pixel_hash", pa.binary(32)),
    ("format", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("orientation", pa.int8()),
    ("taken", pa.string()),
    ("camera", pa.string()),
    ("subsecond", pa.string()),
    ("exposure", pa.string()),
    ("first_seen_ns", pa.int64()),
    ("status", pa.string()),
    ("error", pa.string()),
)
OF_FILE = ("root_id", "path", "size", "mtime_ns", "device", "inode", "companions")
"""The columns that make up a :class:`annidx.model.File`."""

FEW = 64
"""So many rows are read one by one: take() would import pyarrow.compute."""

_MASK64 = (1 << 64) - 1  # network file systems report devices and inodes as they like
_PAGE_HEADER_BYTES = 64  # a Thrift page header; 27 measured


def schema(kind: Kind, names: Iterable[str]) -> pa.Schema:
    """Return the Parquet schema of a segment; descriptor versions are in its metadata.

    Parameters
    ----------
    kind : {'pictures', 'other'}
    names : iterable of str
        Descriptors of 'pictures'; in the order of the registry, whatever their order here.
    """
    wanted = set(names) if kind == "pictures" else set()
    used = [each for each in DESCRIPTORS.values() if each.name in wanted]
    fields = [pa.field(name, kind_of, nullable=False) for name, kind_of in _FACTS]
    fields += [pa.field(each.name, pa.binary(each.width), nullable=False) for each in used]
    versions = {each.name: each.version for each in used}
    metadata = {"annidx_format": str(FORMAT), "descriptors": json.dumps(versions)}
    return pa.schema(fields, metadata)


def table_of(records: Sequence[Record], kind: Kind) -> pa.Table:
    """Return records as a table with the schema of their kind; at least one.

    All have the same descriptors: those of the first.
    """
    wanted = schema(kind, records[0].descriptors)
    return pa.Table.from_arrays([_column(field, records) for field in wanted], schema=wanted)


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of several tables of one schema as one; at least one table."""
    return pa.concat_tables(tables)


def with_columns(table: pa.Table, changed: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Return a table of rows with some columns of facts replaced."""
    for name, values in changed.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.set_column(at, field, pa.array(_in_range(values, field), field.type))
    return table


def write_segment(path: Path, table: pa.Table) -> None:
    """Write a table as one segment file; at most :data:`ROWS` rows, at least one."""
    rows = len(table)
    with files.create_file(path) as handle:
        pq.write_table(
            table.combine_chunks(),  # or each chunk would begin a page
            handle,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            row_group_size=rows,
            max_rows_per_page=rows,
            data_page_size=2**30,
        )


class Segment:
    """A segment file that is open for reading; its hash is checked at the first read.

    Parameters
    ----------
    path : Path
    entry : SegmentEntry

    Raises
    ------
    IndexDamaged
        When the file is missing or has another size; at the first read: when its hash is not the
        manifest's, or what it holds does not fit.
    IndexTooNew
        At the first read, when its format is newer.
    """

    def __init__(self, path: Path, entry: SegmentEntry) -> None:
        self.path, self.rows = path, entry.rows
        self.sealed = Sealed(path, entry.sha256, entry.size, REPAIR)
        self._lock = threading.Lock()
        self._columns: dict[str, pa.Array] = {}
        self._descriptors: dict[str, npt.NDArray[np.uint8]] = {}

    @cached_property
    def _bytes(self) -> npt.NDArray[np.uint8]:
        # One map serves facts and descriptors, and stays valid when the file is unlinked.
        return np.frombuffer(self.sealed.map(), np.uint8)

    @cached_property
    def _file(self) -> pq.ParquetFile:
        mapped = self._bytes
        try:
            opened = pq.ParquetFile(pa.BufferReader(pa.py_buffer(mapped)))
        except _DAMAGE as error:
            message = f"{self.path}: cannot be read as Parquet ({error}). {REPAIR}"
            raise IndexDamaged(message) from None
        found = (opened.schema_arrow.metadata or {}).get(b"annidx_format", b"")
        if not found.isdigit():
            message = f"{self.path}: its format is {found!r}, a number was expected. {REPAIR}"
            raise IndexDamaged(message)
        if int(found) > FORMAT:
            raise IndexTooNew(too_new_message(str(self.path), int(found)))
        if opened.metadata.num_rows != self.rows:
            count = opened.metadata.num_rows
            message = f"{self.path}: it has {count} rows, the manifest says {self.rows}. {REPAIR}"
            raise IndexDamaged(message)
        return opened

    def column(self, name: str) -> pa.Array:
        """Return a column of facts as one Arrow array, read once."""
        if name not in self._columns:
            self._columns[name] = self._read(name)
        return self._columns[name]

    def facts(self, names: Iterable[str]) -> list[pa.Array]:
        """Return columns of facts; other than by :meth:`column`, none is kept."""
        return [self._read(name) for name in names]

    def _read(self, name: str) -> pa.Array:
        if name not in self._file.schema_arrow.names and name in _ADDED:
            return pa.array([_ADDED[name]] * self.rows, dict(_FACTS)[name])
        try:
            # Two threads that read from one ParquetFile at once end the process now and then.
            with self._lock:
                chunked = self._file.read(columns=[name]).column(0)
        except _DAMAGE as error:
            message = f"{self.path}: column {name} cannot be read ({error}). {REPAIR}"
            raise IndexDamaged(message) from None
        if len(chunked) != self.rows:
            message = f"{self.path}: column {name} has {len(chunked)} rows. {REPAIR}"
            raise IndexDamaged(message)
        return chunked.combine_chunks()

    def table(self, rows: npt.NDArray[np.intp], names: Iterable[str]) -> pa.Table:
        """Return rows with some descriptors as a table that :func:`write_segment` can write."""
        wanted = schema(self.kind, names)
        columns = []
        for field in wanted:
            if field.name in DESCRIPTORS:
                stored = self.descriptor(field.name)[rows]
                columns.append(_fixed(field, stored.tobytes(), len(rows)))
            else:
                columns.append(self.column(field.name).take(pa.array(rows, pa.int64())))
        return pa.Table.from_arrays(columns, schema=wanted)

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return an integer column, (rows,)."""
        # Not kept here as well: whoever asks for a million rows keeps them once.
        values: npt.NDArray[Any] = self._read(name).to_numpy(zero_copy_only=False)
        return values

    def fixed(self, name: str) -> npt.NDArray[np.uint8]:
        """Return a column of fixed width, (rows, width) uint8."""
        column = self._read(name)
        width = column.type.byte_width
        start = column.offset * width
        block = np.frombuffer(column.buffers()[1], np.uint8)[start : start + self.rows * width]
        return block.reshape(self.rows, width)

    def filled(self, name: str) -> npt.NDArray[np.bool_]:
        """Tell for each row whether its list is not empty, (rows,)."""
        lengths = self._read(name).value_lengths().to_numpy(zero_copy_only=False)
        return np.asarray(lengths > 0)

    def descriptor(self, name: str) -> npt.NDArray[np.uint8]:
        """Return the stored bytes of a descriptor, (rows, width) uint8, mapped from the file."""
        if name not in self._descriptors:
            self._descriptors[name] = self._mapped(name)
        return self._descriptors[name]

    def _mapped(self, name: str) -> npt.NDArray[np.uint8]:
        width = DESCRIPTORS[name].width
        index = self._file.schema_arrow.get_field_index(name)
        if index < 0:
            message = f"{self.path}: there is no descriptor {name!r} in it. {REPAIR}"
            raise IndexDamaged(message)
        chunk = self._file.metadata.row_group(0).column(index)
        header = chunk.total_compressed_size - self.rows * width
        start = chunk.data_page_offset + header
        block = self._bytes[start : start + self.rows * width]
        if not 0 < header <= _PAGE_HEADER_BYTES or len(block) != self.rows * width:
            message = f"{self.path}: descriptor {name!r} is not one plain page. {REPAIR}"
            raise IndexDamaged(message)
        return np.asarray(block).reshape(self.rows, width)

    def records(self, rows: Sequence[int] | npt.NDArray[np.intp]) -> Iterator[Record]:
        """Yield rows as records, with their descriptors."""
        facts = {name: taken(self.column(name), np.asarray(rows, np.intp)) for name, _ in _FACTS}
        stored = {name: self.descriptor(name) for name in self.descriptor_names}
        for at, row in enumerate(rows):
            values = {name: column[at] for name, column in facts.items()}
            file = File(**{name: values.pop(name) for name in OF_FILE})
            file = replace(file, companions=tuple(file.companions))
            descriptors = {name: block[row].tobytes() for name, block in stored.items()}
            yield Record(file=file, descriptors=descriptors, **values)

    @cached_property
    def descriptor_names(self) -> list[str]:
        """Names of the descriptors in this segment, in file order."""
        return [name for name in self._file.schema_arrow.names if name in DESCRIPTORS]

    @property
    def kind(self) -> Kind:
        """Return 'pictures' when rows have descriptors, else 'other'."""
        return "pictures" if self.descriptor_names else "other"


_DAMAGE = (pa.ArrowException, OSError, ValueError, IndexError, KeyError)
"""What pyarrow throws at bytes that are not what they were."""

REPAIR = 'Run "annidx build": it extracts the pictures of this segment anew.'

_ADDED: dict[str, Any] = {"companions": [], "subsecond": "", "exposure": ""}
"""Columns that older segments of this format do not have, and what stands for them."""


def taken(column: pa.Array, rows: npt.NDArray[np.intp]) -> list[Any]:
    """Return a column at some rows as Python values."""
    if len(rows) <= FEW:
        return [column[at].as_py() for at in rows.tolist()]
    values: list[Any] = column.take(pa.array(rows)).to_pylist()
    return values


def _column(field: pa.Field, records: Sequence[Record]) -> pa.Array:
    name = field.name
    if name in DESCRIPTORS:
        return _fixed(field, b"".join(each.descriptors[name] for each in records), len(records))
    if name in OF_FILE:
        values = _in_range([getattr(record.file, name) for record in records], field)
    else:
        values = [getattr(record, name) for record in records]
        if field.type == pa.string():  # an error message may quote bytes that are not UTF-8
            values = [value.encode(errors="replace").decode() for value in values]
    return pa.array(values, field.type)


def _in_range(values: Sequence[Any], field: pa.Field) -> Sequence[Any]:
    return [value & _MASK64 for value in values] if field.type == pa.uint64() else values


def _fixed(field: pa.Field, joined: bytes, rows: int) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(field.type, rows, [None, pa.py_buffer(joined)])
