"""Indexes whose segments some graphs cover, some do not, with removed rows: without a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from annidx import Index, graphs
from annidx.descriptors import SIGNATURE, THUMB
from annidx.model import Record
from annidx.search.vectors import Stored
from annidx.store import identity, snapshot
from annidx.store.manifest import GraphEntry, Manifest, Root
from annidx.store.snapshot import Snapshot
from tests.making import add_segment, record

Removed = tuple[tuple[int, int], ...]
DAY_NS = 86_400 * 10**9
FIRST_NS = 1_700_000_000 * 10**9
SIZES = ((640, 480), (480, 640), (4000, 3000))


def records(thumbs: Stored, signatures: Stored) -> list[Record]:
    """Return pictures with these descriptors, which differ in what filters ask for."""
    made = []
    for number, (thumb, signature) in enumerate(zip(thumbs, signatures, strict=True)):
        width, height = SIZES[number % 3]
        row = record(
            number,
            path=b"%d/%05d.jpg" % (number % 4, number),
            width=width,
            height=height,
            first_seen_ns=FIRST_NS + number % 7 * DAY_NS,
            descriptors={"thumb": thumb.tobytes(), "signature": signature.tobytes()},
        )
        file = replace(row.file, root_id=1 + number % 2, size=1000 * (1 + number % 9))
        made.append(replace(row, file=file))
    return made


def index_of(
    place: Path,
    parts: Sequence[Sequence[Record]],
    *,
    graphs_of: Mapping[str, Sequence[Sequence[int]]] | None = None,
    removed: Mapping[int, Removed] | None = None,
) -> Index:
    """Publish the first snapshot of an index and open it.

    Parameters
    ----------
    place : Path
        Where it is to be; two roots beside it need not exist.
    parts : sequence of sequences of Record
        The pictures of each segment.
    graphs_of : mapping of str to sequences of int, optional
        By metric the segments of each graph.
    removed : mapping of int to runs of rows, optional
        What is gone of a segment since its graph was made.
    """
    identity.create(place)
    entries = [add_segment(place, part, "pictures") for part in parts]
    roots = tuple(Root(number, b"%s/root%d" % (os.fsencode(place), number)) for number in (1, 2))
    held = {each.name: each.version for each in (THUMB, SIGNATURE)}
    manifest = Manifest(1, "", roots, tuple(entries), descriptors=held)
    whole = Snapshot(place, manifest)
    made = [
        _made(whole, metric, [entries[at].sha256 for at in covers])
        for metric, several in (graphs_of or {}).items()
        for covers in several
    ]
    for at, runs in (removed or {}).items():
        entries[at] = replace(entries[at], removed=runs)
    manifest = replace(manifest, segments=tuple(entries), graphs=tuple(made))
    return Index(Snapshot(place, snapshot.publish(place, manifest)))


def _made(whole: Snapshot, metric: str, segments: Sequence[str]) -> GraphEntry:
    entry = graphs.make(whole, metric, segments, threads=2)
    assert entry is not None
    return replace(entry, usable=True)
