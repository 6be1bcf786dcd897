"""Graphs on disk: made from segments, sealed, probed, certified, loaded. Joins store and search."""

from __future__ import annotations

import contextlib
import hashlib
import os
import weakref
from io import BufferedReader
from pathlib import Path

import numpy as np

from annidx.descriptors import descriptor
from annidx.errors import IndexDamaged
from annidx.search import graph as graphs
from annidx.search.graph import Graph
from annidx.search.recall import certify
from annidx.search.vectors import Vectors
from annidx.store import files
from annidx.store.manifest import GraphEntry
from annidx.store.snapshot import Snapshot


class Handle:
    """A file that is open and not read: it stays readable when a later prune unlinks it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)

    def open(self) -> BufferedReader:
        """Read it from its start."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return open(self.descriptor, "rb", closefd=False)


Held = dict[Path, Handle]
"""Open files of graphs, by their paths."""

UNCOVERED_ROWS = 1000
UNCOVERED_SHARE = 0.1
REMOVED_SHARE = 0.25


def vectors_of(opened: Snapshot, metric: str) -> Vectors:
    """Return the descriptors of a metric over all rows of a snapshot's pictures."""
    blocks = opened.pictures.descriptors(metric)
    return Vectors(descriptor(metric), blocks, opened.pictures.live)


def covered_rows(opened: Snapshot, entry: GraphEntry) -> int:
    """Return how many of the snapshot's rows a graph covers; -1 when it does not fit."""
    entries = opened.pictures.entries[: len(entry.segments)]
    if tuple(each.sha256 for each in entries) != entry.segments:
        return -1
    return sum(each.rows for each in entries)


def is_stale(opened: Snapshot, entry: GraphEntry) -> bool:
    """Tell whether a graph should be built anew: too much is uncovered, or gone."""
    covered = covered_rows(opened, entry)
    if covered < 0:
        return True
    live = opened.pictures.live
    still, beyond = int(live[:covered].sum()), int(live[covered:].sum())
    if beyond > max(UNCOVERED_ROWS, UNCOVERED_SHARE * covered):
        return True
    return covered - still > REMOVED_SHARE * covered


def make(opened: Snapshot, metric: str, *, threads: int) -> GraphEntry:
    """Build, seal, probe and certify a graph over all pictures of a snapshot (at least one)."""
    vectors = vectors_of(opened, metric)
    rows = np.flatnonzero(vectors.live)
    built, share = graphs.build(vectors, rows, threads=threads)
    index = opened.index
    staged = files.staging_path(index, ".hnsw")
    built.save(staged)
    digest, size = files.seal(staged, index / "graphs", ".hnsw")
    segments = tuple(entry.sha256 for entry in opened.pictures.entries)
    facts = {"metric": metric, "sha256": digest, "segments": segments, "found_itself": share}
    sidecar = built.sidecar({**facts, "parameters": {"M": 16, "post": 2}})
    # Under its own hash: small graphs may come out alike while what their nodes stand for differs.
    staged = files.staging_path(index, ".json")
    staged.write_bytes(sidecar)
    sidecar_digest, _ = files.seal(staged, index / "graphs", ".json")
    # What was written is what will be used: it is loaded back, and that one is measured.
    loaded = graphs.load(index / "graphs" / f"{digest}.hnsw", sidecar, f"the graph for {metric}")
    certificate = certify(vectors, loaded, vectors.descriptor.cutoff)
    return GraphEntry(
        metric=metric,
        sha256=digest,
        size=size,
        sidecar_sha256=sidecar_digest,
        segments=segments,
        nodes=built.nodes,
        recall=certificate.recall,
        recall_low=certificate.low,
        recall_high=certificate.high,
        sampled_pairs=certificate.pairs,
        found_itself=share,
        usable=share >= graphs.SELF_TARGET and not certificate.missed,
    )


def usable(opened: Snapshot, metric: str) -> GraphEntry | None:
    """Return the graph that may answer for a metric."""
    for entry in opened.manifest.graphs:
        if entry.metric == metric and entry.usable and covered_rows(opened, entry) >= 0:
            return entry
    return None


def hold(opened: Snapshot) -> Held:
    """Open the files of a snapshot's graphs without reading them."""
    held: Held = {}
    for entry in opened.manifest.graphs:
        for path in (_hnsw(opened.index, entry), _sidecar(opened.index, entry)):
            with contextlib.suppress(OSError):  # said when the graph is needed
                held[path] = Handle(path)
    return held


def load(opened: Snapshot, entry: GraphEntry, held: Held) -> Graph:
    """Check the hashes of a graph's files and load it.

    Raises
    ------
    IndexDamaged
        When a file is missing or is not what the manifest says: nmslib would crash or lie.
    """
    path, sidecar = _hnsw(opened.index, entry), _sidecar(opened.index, entry)
    for file, expected in ((path, entry.sha256), (sidecar, entry.sidecar_sha256)):
        if file not in held:
            message = f"{file}: the graph is missing. {_REPAIR}"
            raise IndexDamaged(message)
        with held[file].open() as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        if found != expected:
            message = f"{file}: sha256 is {found}, the manifest says {expected}. {_REPAIR}"
            raise IndexDamaged(message)
    with held[sidecar].open() as handle:
        description = handle.read()
    # By its descriptor: the name may be gone by now.
    return graphs.load(Path(f"/dev/fd/{held[path].descriptor}"), description, str(sidecar))


_REPAIR = 'Run "annidx build --rebuild-graphs".'


def _hnsw(index: Path, entry: GraphEntry) -> Path:
    return index / "graphs" / f"{entry.sha256}.hnsw"


def _sidecar(index: Path, entry: GraphEntry) -> Path:
    return index / "graphs" / f"{entry.sidecar_sha256}.json"
