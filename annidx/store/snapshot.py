"""Snapshots: open the current one, publish the next."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from annidx.errors import FileDamaged, IndexDamaged, IndexNotFound
from annidx.store import files, identity
from annidx.store.manifest import GraphEntry, Kind, Manifest, SegmentEntry
from annidx.store.rowset import Rows, Rowset
from annidx.store.sealed import Sealed
from annidx.store.segment import Segment, write_segment

log = logging.getLogger(__name__)

_GRAPH_REPAIR = 'Run "annidx build": it makes the graph anew.'


class ForeignManifest(IndexDamaged):
    """A manifest that was made by another index."""


class Snapshot:
    """One published state of an index, open for reading.

    Parameters
    ----------
    index : Path
        The index directory.
    manifest : Manifest

    Raises
    ------
    IndexDamaged
        When a segment is missing or has another size. What is in a segment is looked at when it is
        read, and a graph that is missing is no matter until it is needed.
    """

    def __init__(self, index: Path, manifest: Manifest) -> None:
        self.index = index
        self.manifest = manifest
        files.open_many()
        # Every file is opened here: what prune unlinks later stays readable for this snapshot.
        self.pictures = self._open("pictures")
        self.other = self._open("other")
        self._graph_files = {
            path: _opened_or_damage(path, sha256, size)
            for entry in manifest.graphs
            for path, sha256, size in graph_files(index, entry)
        }

    def _open(self, kind: Kind) -> Rowset:
        entries = [entry for entry in self.manifest.segments if entry.kind == kind]
        covered = {name for graph in self.manifest.graphs for name in graph.segments}
        segments = [(each, Segment(segment_path(self.index, each), each)) for each in entries]
        return Rowset(segments, covered)

    def graph(self, entry: GraphEntry) -> tuple[Sealed, Sealed]:
        """Return the files of a graph, the .hnsw and the .json beside it.

        Raises
        ------
        IndexDamaged
            When one is missing, has another size or another hash: nmslib would crash or lie.
        """
        found = []
        for path, _, _ in graph_files(self.index, entry):
            file = self._graph_files[path]
            if isinstance(file, FileDamaged):
                raise file.with_traceback(None)
            file.check()
            found.append(file)
        return found[0], found[1]

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
        columns = chosen.columns(("root_id", "path"), rows)
        return self.joined(columns["root_id"], columns["path"])

    def joined(self, roots: Sequence[int], paths: Sequence[bytes]) -> list[bytes]:
        """Return the absolute paths of paths that are relative to their roots."""
        folders = self.folders
        return [folders[root] + path for root, path in zip(roots, paths, strict=True)]


def current(index: Path) -> Snapshot:
    """Open the newest snapshot whose manifest is whole.

    Raises
    ------
    IndexNotFound
        When there is no index, or nothing was published yet.
    IndexTooNew, IndexDamaged
    """
    while True:
        manifest = current_manifest(index)
        if manifest is None:
            message = f'{index}: nothing was built here yet. Run "annidx build FOLDER" first.'
            raise IndexNotFound(message)
        path = manifest_path(index, manifest.number)
        try:
            opened = Snapshot(index, manifest)
        except IndexDamaged:
            if path.exists():
                raise
            continue
        # prune removes the manifest before the files: as it is there, so were they all.
        if path.exists():
            return opened


def current_manifest(index: Path, warnings: list[str] | None = None) -> Manifest | None:
    """Return the newest whole manifest, None when nothing was published yet.

    Parameters
    ----------
    index : Path
    warnings : list of str, optional
        Gets a line for each newer one that is damaged; None: they are logged.

    Raises
    ------
    IndexNotFound
        When there is no index at all.
    IndexTooNew
        When the newest one was written by a newer annidx.
    IndexDamaged
        When there are manifests and none is whole.
    """
    known_id = identity.index_id(index)
    numbered = files.manifest_paths(index)
    if not numbered and (loss := lost_manifests(index)):
        raise IndexDamaged(loss)
    damaged = []
    for path in reversed(numbered):
        try:
            manifest = read_manifest(path, known_id)
        except FileNotFoundError:  # pruned meanwhile
            continue
        except PermissionError:  # it may well be whole
            raise
        except (IndexDamaged, OSError) as error:
            damaged.append(error)
            continue
        for reason in damaged:
            warning = f"{reason}; the snapshot before it is used"
            log.warning(warning) if warnings is None else warnings.append(warning)
        return manifest
    if damaged:
        cure = 'Run "annidx build --rebuild FOLDER..." to start anew.'
        if all(isinstance(reason, ForeignManifest) for reason in damaged):
            cure = 'Run "annidx build": if annidx.json is the wrong one, it is mended.'
        message = f"{index}: none of its {len(damaged)} manifests is whole ({damaged[0]}). {cure}"
        raise IndexDamaged(message)
    return None


def lost_manifests(index: Path) -> str:
    """Return what is wrong with an index without manifests; empty when nothing was published yet.

    A first build that was killed leaves segments, too, but it leaves its journal as well.
    """
    there = sum(1 for name in ("segments", "graphs") for _ in files.listed(index / name))
    if there == 0 or files.listed(index / "staging"):
        return ""
    return (
        f"{index / 'snapshots'}: holds no manifest, though {there} files of segments and graphs "
        'are there. Run "annidx build --rebuild FOLDER..." to start anew, or bring the folder back.'
    )


def read_manifest(path: Path, known_id: str) -> Manifest:
    """Read a manifest and check that it is that of its number and of this index.

    Parameters
    ----------
    path : Path
    known_id : str
        The id of the index; empty to take any.

    Raises
    ------
    IndexDamaged, IndexTooNew, OSError
    """
    manifest = Manifest.from_json(files.read_file(path), str(path))
    if manifest.number != int(path.stem):
        message = f"{path}: it is the manifest of snapshot {manifest.number}"
        raise IndexDamaged(message)
    if known_id and manifest.index_id not in ("", known_id):
        marker = path.parent.parent / "annidx.json"
        message = f"{path}: it belongs to the index {manifest.index_id}, {marker} names {known_id}"
        raise ForeignManifest(message)
    return manifest


def publish(
    index: Path, manifest: Manifest, *, restores: int = 0, interim_of: int | None = None
) -> Manifest:
    """Make `manifest` the current snapshot, under the number after the newest file.

    All files that it names must be sealed already. Returns it with its number.

    Parameters
    ----------
    index : Path
    manifest : Manifest
    restores : int
        The number of the snapshot that it restores; 0 when it is the result of a build.
    interim_of : int, optional
        The number of the snapshot that a build went on from that has not come to its end.
    """
    newest = max((int(path.stem) for path in files.manifest_paths(index)), default=0)
    known_id = identity.index_id(index)
    numbered = replace(
        manifest,
        number=newest + 1,
        index_id=known_id,
        restores=restores,
        interim_of=interim_of,
    )
    files.write_new(manifest_path(index, numbered.number), numbered.to_json(), index)
    return numbered


def add_table(index: Path, table: pa.Table, kind: Kind) -> SegmentEntry:
    """Write rows as a segment, for good but not yet part of any snapshot."""
    staged = files.staging_path(index, ".parquet")
    write_segment(staged, table)
    digest, size = files.seal(staged, index / "segments", ".parquet")
    return SegmentEntry(digest, kind, len(table), size)


def manifest_path(index: Path, number: int) -> Path:
    """Return where the manifest of a snapshot is."""
    return index / "snapshots" / f"{number:08d}.json"


def segment_path(index: Path, entry: SegmentEntry) -> Path:
    """Return where a segment is."""
    return index / "segments" / f"{entry.sha256}.parquet"


def graph_files(index: Path, entry: GraphEntry) -> list[tuple[Path, str, int | None]]:
    """Return (path, SHA-256, size if known) of the files of a graph: .hnsw, then .json."""
    folder = index / "graphs"
    return [
        (folder / f"{entry.sha256}.hnsw", entry.sha256, entry.size),
        (folder / f"{entry.sidecar_sha256}.json", entry.sidecar_sha256, None),
    ]


def _opened_or_damage(path: Path, sha256: str, size: int | None) -> Sealed | FileDamaged:
    try:
        return Sealed(path, sha256, size, _GRAPH_REPAIR)
    except FileDamaged as damage:  # said when the graph is needed
        return damage
