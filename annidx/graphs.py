"""Graphs on disk: made from segments, sealed, probed, certified, loaded. Joins store and search."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from annidx import fingerprints
from annidx.descriptors import VIEW, descriptor
from annidx.search import graph as graphs
from annidx.search.query import Placed
from annidx.search.recall import TARGET, Certificate, certify
from annidx.search.vectors import Rows, Vectors
from annidx.store import files
from annidx.store.manifest import GraphEntry
from annidx.store.snapshot import Snapshot

log = logging.getLogger(__name__)


class Usable(NamedTuple):
    """A graph that may answer, and the rows of the snapshot that it covers."""

    entry: GraphEntry
    covers: range


def vectors_of(opened: Snapshot, metric: str) -> Vectors:
    """Return the descriptors of a metric over all rows of a snapshot's pictures.

    Of a descriptor with several slots each slot is a row, and live if it holds a view.
    """
    measure, live = descriptor(metric), opened.pictures.live
    blocks = opened.pictures.descriptors(metric)
    if measure.slots == 1:
        return Vectors(measure, blocks, live)
    there = [np.zeros(0, np.bool_), *(fingerprints.present(block).ravel() for block in blocks)]
    views = [block.reshape(-1, VIEW.width) for block in blocks]
    return Vectors(VIEW, views, np.concatenate(there) & np.repeat(live, measure.slots))


def covered_rows(opened: Snapshot, segments: Sequence[str], slots: int = 1) -> range:
    """Return the rows of a graph's segments; none when they are not all there, side by side.

    With several `slots` a picture, those are counted.
    """
    names = [entry.sha256 for entry in opened.pictures.entries]
    first = names.index(segments[0]) if segments and segments[0] in names else 0
    if not segments or names[first : first + len(segments)] != list(segments):
        return range(0)
    starts = opened.pictures.starts
    return range(slots * int(starts[first]), slots * int(starts[first + len(segments)]))


def usable(opened: Snapshot, metric: str) -> list[Usable]:
    """Return the graphs that may answer for a metric."""
    found = [
        Usable(entry, covered_rows(opened, entry.segments, descriptor(metric).slots))
        for entry in opened.manifest.graphs
        if entry.metric == metric and entry.usable
    ]
    return [each for each in found if each.covers]


def uncovered_rows(live: npt.NDArray[np.bool_], found: Sequence[Usable]) -> Rows:
    """Return the live rows that none of some graphs covers, (u,) intp; `live` is (n,)."""
    mask = live.copy()
    for each in found:
        mask[each.covers.start : each.covers.stop] = False
    return np.flatnonzero(mask)


def load(opened: Snapshot, each: Usable) -> Placed:
    """Check the hashes of a graph's files and load it.

    Raises
    ------
    IndexDamaged
        When a file is missing or is not what the manifest says: nmslib would crash or lie.
    """
    hnsw, sidecar = opened.graph(each.entry)
    with sidecar.open() as handle:
        description = handle.read()
    graph = graphs.load(hnsw.descriptor, description, str(hnsw.path))
    return Placed(graph, each.covers.start)


def judged(entry: GraphEntry, min_recall: float) -> GraphEntry | None:
    """Return a graph as it is to be used under a recall that is asked for.

    Returns
    -------
    GraphEntry or None
        None when it was used and falls short now: it is worth building anew.
    """
    short = entry.recall_high is not None and entry.recall_high < min_recall
    if short and entry.usable:
        return None
    return replace(entry, usable=not short and entry.found_itself >= graphs.SELF_TARGET)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A graph that was written, and what came of measuring it."""

    sha256: str
    size: int
    sidecar_sha256: str
    nodes: int
    found_itself: float
    certificate: Certificate

    def reaches(self, min_recall: float) -> bool:
        return self.found_itself >= graphs.SELF_TARGET and not self.certificate.misses(min_recall)


def make(
    opened: Snapshot,
    metric: str,
    segments: Sequence[str],
    *,
    threads: int,
    min_recall: float = TARGET,
) -> GraphEntry | None:
    """Build, seal, load back and certify a graph over some segments of a snapshot.

    One that does not find its own members, or whose recall lies wholly under `min_recall`, is built
    once more with a higher efConstruction; when that is no better, the entry is not usable.

    Returns
    -------
    GraphEntry or None
        None when no row of the segments is live.
    """
    vectors = vectors_of(opened, metric)
    covers = covered_rows(opened, segments, descriptor(metric).slots)
    rows = np.flatnonzero(vectors.live[covers.start : covers.stop]) + covers.start
    if len(rows) == 0:
        return None
    for ef in graphs.EF_CONSTRUCTION:
        attempt = _attempt(opened.index, vectors, segments, covers, ef, threads)
        if attempt.reaches(min_recall):
            break
        log.info(
            "graph for %s with efConstruction %d: recall %s, %.4f find themselves",
            *(metric, ef, attempt.certificate.recall, attempt.found_itself),
        )
    return GraphEntry(
        metric=metric,
        sha256=attempt.sha256,
        size=attempt.size,
        sidecar_sha256=attempt.sidecar_sha256,
        segments=tuple(segments),
        nodes=attempt.nodes,
        recall=attempt.certificate.recall,
        recall_low=attempt.certificate.low,
        recall_high=attempt.certificate.high,
        sampled_pairs=attempt.certificate.pairs,
        found_itself=attempt.found_itself,
        usable=attempt.reaches(min_recall),
    )


def _attempt(
    index: Path,
    vectors: Vectors,
    segments: Sequence[str],
    covers: range,
    ef: int,
    threads: int,
) -> _Attempt:
    rows = np.flatnonzero(vectors.live[covers.start : covers.stop]) + covers.start
    built, share = graphs.build(vectors, rows, first=covers.start, ef=ef, threads=threads)
    staged = files.staging_path(index, ".hnsw")
    with files.create_file(staged) as handle:
        built.save(handle)
    digest, size = files.seal(staged, index / "graphs", ".hnsw")
    facts = {"metric": vectors.descriptor.name, "rows": len(rows), "sha256": digest}
    facts |= {"segments": list(segments), "found_itself": share}
    sidecar = built.sidecar({**facts, "parameters": {"M": 16, "post": 2, "efConstruction": ef}})
    # Under its own hash: small graphs may come out alike while what their nodes stand for differs.
    staged = files.staging_path(index, ".json")
    with files.create_file(staged) as handle:
        handle.write(sidecar)
    sidecar_digest, _ = files.seal(staged, index / "graphs", ".json")
    # What was written is what will be used: it is loaded back, and that one is measured.
    with files.open_file(index / "graphs" / f"{digest}.hnsw") as handle:
        where = f"the graph for {vectors.descriptor.name}"
        loaded = graphs.load(handle.fileno(), sidecar, where)
    certificate = certify(vectors, Placed(loaded, covers.start), rows, vectors.descriptor.cutoff)
    return _Attempt(digest, size, sidecar_digest, built.nodes, share, certificate)
