"""Snapshots: open the current one, publish the next.

A snapshot counts its rows: the rows of its 'pictures' segments in the order of the manifest, and
apart from them those of its 'other' segments. Removed rows keep their number and are not live.
"""

from __future__ import annotations

import bisect
import json
import logging
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annidx.errors import IndexDamaged, IndexNotFound, IndexTooNew
from annidx.model import Record
from annidx.store import files
from annidx.store.manifest import FORMAT, Kind, Manifest, SegmentEntry, too_new_message
from annidx.store.segment import ROWS, Segment, table_of, write_segment

log = logging.getLogger(__name__)

Rows = npt.NDArray[np.intp]


class Rowset:
    """The rows of all segments of one kind, counted through.

    Parameters
    ----------
    segments : Sequence of (SegmentEntry, Segment)
    """

    def __init__(self, segments: Sequence[tuple[SegmentEntry, Segment]]) -> None:
        self.entries = [entry for entry, _ in segments]
        self.segments = [segment for _, segment in segments]
        self.starts = np.cumsum([0, *(entry.rows for entry in self.entries)])
        self._starts: list[int] = self.starts.tolist()
        self._columns: dict[str, list[pa.Array]] = {}

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def live(self) -> npt.NDArray[np.bool_]:
        """True for rows that are not removed, (rows,)."""
        mask = np.ones(len(self), np.bool_)
        for begin, entry in zip(self.starts[:-1], self.entries, strict=True):
            for start, count in entry.removed:
                mask[begin + start : begin + start + count] = False
        return mask

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return an integer column over all rows, (rows,)."""
        columns = [segment.numbers(name) for segment in self.segments]
        return np.concatenate(columns) if columns else np.zeros(0, np.int64)

    def values(self, name: str, rows: Rows) -> list[Any]:
        """Return a column at some rows as Python values."""
        result: list[Any] = [None] * len(rows)
        for segment, places, local in self._split(rows):
            taken = segment.column(name).take(pa.array(local)).to_pylist()
            for place, value in zip(places.tolist(), taken, strict=True):
                result[place] = value
        return result

    def fixed(self, name: str) -> npt.NDArray[np.uint8]:
        """Return a column of fixed width, such as a hash, over all rows, (rows, width)."""
        blocks = [segment.fixed(name) for segment in self.segments]
        return np.concatenate(blocks) if blocks else np.zeros((0, 1), np.uint8)

    def filled(self, name: str) -> npt.NDArray[np.bool_]:
        """Tell for all rows whether a list is not empty, (rows,)."""
        parts = [segment.filled(name) for segment in self.segments]
        return np.concatenate(parts) if parts else np.zeros(0, np.bool_)

    def labels(self, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """Return a column of few different texts as numbers over all rows, and the texts."""
        texts: list[str] = []
        parts = [np.zeros(0, np.int32)]
        for segment in self.segments:
            encoded = segment.column(name).dictionary_encode()
            parts.append(encoded.indices.to_numpy() + np.int32(len(texts)))
            texts += encoded.dictionary.to_pylist()
        return np.concatenate(parts), texts

    def value(self, name: str, row: int) -> Any:
        """Return a column at one row; quick, for look-ups row by row."""
        if name not in self._columns:
            self._columns[name] = [segment.column(name) for segment in self.segments]
        owner = bisect.bisect_right(self._starts, row) - 1
        return self._columns[name][owner][row - self._starts[owner]].as_py()

    def table(self, rows: Rows, names: Iterable[str]) -> pa.Table:
        """Return ascending rows as a table that a writer takes; at least one."""
        wanted = list(names)
        parts = [segment.table(local, wanted) for segment, _, local in self._split(rows)]
        return pa.concat_tables(parts)

    def descriptors(self, name: str) -> list[npt.NDArray[np.uint8]]:
        """Return the stored bytes of a descriptor, one mapped block a segment."""
        return [segment.descriptor(name) for segment in self.segments]

    def place(self, sha256: str) -> int:
        """Return the place of a segment among the segments."""
        return [entry.sha256 for entry in self.entries].index(sha256)

    def records(self, rows: Rows) -> Iterator[Record]:
        """Yield rows as records; `rows` must be ascending."""
        for segment, _, local in self._split(rows):
            yield from segment.records(local)

    def _split(self, rows: Rows) -> Iterator[tuple[Segment, Rows, Rows]]:
        """Yield (segment, places in `rows`, row numbers within the segment)."""
        owners = np.searchsorted(self.starts, rows, side="right") - 1
        for owner in np.unique(owners):
            places = np.flatnonzero(owners == owner)
            yield self.segments[owner], places, np.asarray(rows)[places] - self.starts[owner]


class Snapshot:
    """One published state of an index, open for reading.

    Parameters
    ----------
    index : Path
        The index directory.
    manifest : Manifest
    """

    def __init__(self, index: Path, manifest: Manifest) -> None:
        self.index = index
        self.manifest = manifest
        # Every file is opened here: what prune unlinks later stays readable for this snapshot.
        self.pictures = self._open("pictures")
        self.other = self._open("other")

    def _open(self, kind: Kind) -> Rowset:
        entries = [entry for entry in self.manifest.segments if entry.kind == kind]
        return Rowset([(each, Segment(_segment(self.index, each), each.rows)) for each in entries])

    @cached_property
    def root_paths(self) -> dict[int, bytes]:
        """Absolute path of each root by its id."""
        return {root.root_id: root.path for root in self.manifest.roots}

    @cached_property
    def folders(self) -> dict[int, bytes]:
        """The same, each with a slash at its end."""
        return {root_id: path.rstrip(b"/") + b"/" for root_id, path in self.root_paths.items()}

    def paths(self, rows: Rows, rowset: Rowset | None = None) -> list[bytes]:
        """Return the absolute paths of rows of pictures (or of another rowset)."""
        chosen = rowset or self.pictures
        roots, relative = chosen.values("root_id", rows), chosen.values("path", rows)
        folders = self.folders
        return [folders[root] + path for root, path in zip(roots, relative, strict=True)]


def current(index: Path) -> Snapshot:
    """Open the newest snapshot whose manifest is whole.

    Raises
    ------
    IndexNotFound
        When there is no index, or nothing was published yet.
    IndexTooNew, IndexDamaged
    """
    manifest = current_manifest(index)
    if manifest is None:
        message = f'{index}: nothing was built here yet. Run "annidx build FOLDER" first.'
        raise IndexNotFound(message)
    return Snapshot(index, manifest)


def current_manifest(index: Path) -> Manifest | None:
    """Return the newest whole manifest, None when nothing was published yet.

    Raises
    ------
    IndexNotFound
        When there is no index at all.
    IndexTooNew
        When the newest one was written by a newer annidx.
    IndexDamaged
        When there are manifests and none is whole.
    """
    check_format(index)
    numbered = manifest_paths(index)
    damaged = []
    for path in reversed(numbered):
        try:
            manifest = Manifest.from_json(path.read_bytes(), str(path))
        except (IndexDamaged, OSError) as error:
            damaged.append(error)
            continue
        for reason in damaged:
            log.warning("%s; the snapshot before it is used", reason)
        return manifest
    if numbered:
        message = (
            f"{index}: none of its {len(numbered)} manifests is whole ({damaged[0]}). "
            'Run "annidx build --rebuild FOLDER..." to start anew.'
        )
        raise IndexDamaged(message)
    return None


def manifest_paths(index: Path) -> list[Path]:
    """Return the manifests of an index, lowest number first."""
    try:
        return sorted(path for path in (index / "snapshots").glob("*.json") if path.stem.isdigit())
    except OSError:
        return []


def check_format(index: Path) -> None:
    """Check that `index` is an index that this annidx can read.

    Raises
    ------
    IndexNotFound, IndexTooNew, IndexDamaged
    """
    where = index / "annidx.json"
    try:
        found = json.loads(where.read_bytes())["format"]
    except FileNotFoundError:
        message = f'{index}: there is no index here. Run "annidx build FOLDER" first.'
        raise IndexNotFound(message) from None
    except NotADirectoryError:
        message = f"{index}: not a folder, so no index is in it."
        raise IndexNotFound(message) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{where}: cannot be read ({type(error).__name__}: {error})"
        raise IndexDamaged(message) from None
    if not isinstance(found, int):
        message = f"{where}: its format is {found!r}, a number was expected"
        raise IndexDamaged(message)
    if found > FORMAT:
        raise IndexTooNew(too_new_message(str(where), found))


def create(index: Path) -> None:
    """Make an empty index, or leave the one that is there.

    Raises
    ------
    IndexTooNew, IndexDamaged
    IndexNotFound
        When the folder exists and holds something else.
    """
    marker = index / "annidx.json"
    # The folders alone are what a build leaves that was killed right at its start.
    foreign = not index.is_dir() or any(each.name not in files.FOLDERS for each in index.iterdir())
    if index.exists() and not marker.exists() and foreign:
        message = f"{index}: exists and is no index. Name an empty or a new folder with --index."
        raise IndexNotFound(message)
    files.make_folders(index)
    if not marker.exists():
        fields = {"format": FORMAT, "index_id": secrets.token_hex(16)}
        files.write_new(marker, json.dumps(fields).encode() + b"\n", index)
    check_format(index)


def add_segment(index: Path, records: Sequence[Record], kind: Kind) -> SegmentEntry:
    """Write records as a segment; see :func:`add_table`."""
    return add_table(index, table_of(records, kind), kind)


def add_table(index: Path, table: pa.Table, kind: Kind) -> SegmentEntry:
    """Write rows as a segment, for good but not yet part of any snapshot."""
    staged = files.staging_path(index, ".parquet")
    write_segment(staged, table)
    digest, size = files.seal(staged, index / "segments", ".parquet")
    return SegmentEntry(digest, kind, len(table), size)


def publish(index: Path, manifest: Manifest) -> Manifest:
    """Make `manifest` the current snapshot, under the number after the newest file.

    All files that it names must be sealed already. Returns it with its number.
    """
    newest = max((int(path.stem) for path in manifest_paths(index)), default=0)
    numbered = replace(manifest, number=newest + 1)
    path = index / "snapshots" / f"{numbered.number:08d}.json"
    files.write_new(path, numbered.to_json(), index)
    return numbered


def without(rowset: Rowset, gone: npt.NDArray[np.bool_]) -> list[SegmentEntry]:
    """Return the entries of a rowset with more rows removed; segments without live rows go."""
    kept = []
    live = rowset.live & ~gone
    for entry, start in zip(rowset.entries, rowset.starts[:-1], strict=True):
        mask = live[start : start + entry.rows]
        if mask.any():
            kept.append(replace(entry, removed=_runs(~mask)))
    return kept


def _runs(mask: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Return the runs (start, count) of True."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    pairs = edges.reshape(-1, 2).tolist()
    return tuple((start, stop - start) for start, stop in pairs)


def damaged_files(index: Path, manifest: Manifest) -> list[str]:
    """Hash every file of a snapshot; return one line for each that is not what it should be."""
    expected = [(_segment(index, each), each.sha256, "--rebuild") for each in manifest.segments]
    for graph in manifest.graphs:
        hnsw, sidecar = graph.sha256, graph.sidecar_sha256
        expected.append((index / "graphs" / f"{hnsw}.hnsw", hnsw, "--rebuild-graphs"))
        expected.append((index / "graphs" / f"{sidecar}.json", sidecar, "--rebuild-graphs"))
    lines = _damaged_manifests(index)
    for path, digest, cure in expected:
        try:
            found = files.sha256_of(path)
        except OSError as error:
            found = f"unreadable ({error.strerror})"
        if found != digest:
            line = f"{path}: sha256 is {found}, the manifest says {digest}."
            lines.append(f'{line} Run "annidx build {cure}".')
    return lines


def _damaged_manifests(index: Path) -> list[str]:
    lines = []
    for path in manifest_paths(index):
        try:
            Manifest.from_json(path.read_bytes(), str(path))
        except (IndexDamaged, OSError) as error:
            lines.append(str(error))
    return lines


def named_files(index: Path) -> set[str] | None:
    """Return the names of all segments, graphs and sidecars that the manifests name.

    None when a manifest is damaged: then nobody knows what it named.
    """
    names: set[str] = set()
    for path in manifest_paths(index):
        try:
            manifest = Manifest.from_json(path.read_bytes(), str(path))
        except (IndexDamaged, OSError):
            return None
        names |= {f"{entry.sha256}.parquet" for entry in manifest.segments}
        names |= {f"{graph.sha256}.hnsw" for graph in manifest.graphs}
        names |= {f"{graph.sidecar_sha256}.json" for graph in manifest.graphs}
    return names


def _segment(index: Path, entry: SegmentEntry) -> Path:
    return index / "segments" / f"{entry.sha256}.parquet"


__all__ = ["ROWS", "Rows", "Rowset", "Snapshot", "add_segment", "current", "publish"]
