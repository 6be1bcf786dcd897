"""An index whose pictures differ in everything that a search can be asked for, without a file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from annidx import Index, graphs
from annidx.descriptors import SIGNATURE, THUMB
from annidx.model import Record
from annidx.search.transforms import NAMES, turned
from annidx.store import identity
from annidx.store.manifest import Manifest, Root
from annidx.store.snapshot import Snapshot
from tests.making import add_segment, copies, record, signatures, thumbs

FOLDERS = (b"2019", b"2019/trip", b"2020", b"cards/\xff", b"")
NAMED = (b"IMG_%02d.jpg", b"IMG_%02d.NEF", b"scan %02d.png", b"\xfe%02d.jpg")
FORMATS = ("JPEG", "NEF", "PNG", "MPO")
SIZES = ((640, 480), (480, 640), (320, 240), (4000, 3000))
TAKEN = ("", "2019-08-22T18:30:00", "2019-08-31T23:59:59", "2020-01-01T00:00:00")
DAY_NS = 86_400 * 10**9
FIRST_NS = 1_700_000_000 * 10**9
PICTURES = 64


def rows(count: int = PICTURES) -> list[Record]:
    """Return pictures in sixteen clusters, of which some are turned, some equal in all bytes."""
    base = thumbs(16, seed=1)
    made = []
    for number in range(count):
        rng = np.random.default_rng(number)
        thumb = base[number % 16][None]
        if number >= 16:
            thumb = copies(THUMB, thumb, number, change=1.0 + number % 7)
        if number % 5 == 4:
            thumb = turned(THUMB, thumb, NAMES[1 + number % 7])
        kind = int(rng.integers(len(NAMED)))
        folder = FOLDERS[rng.integers(len(FOLDERS))]
        width, height = SIZES[rng.integers(len(SIZES))]
        row = record(
            number,
            path=(folder + b"/" if folder else b"") + NAMED[kind] % number,
            format=FORMATS[kind],
            width=width,
            height=height,
            orientation=int(rng.choice([1, 3, 6])),
            taken=TAKEN[rng.integers(len(TAKEN))],
            first_seen_ns=FIRST_NS + int(rng.integers(4)) * DAY_NS,
        )
        file = replace(row.file, root_id=1 + number % 2, size=1000 * (1 + number % 9))
        stored = {**row.descriptors, "thumb": thumb.tobytes()}
        if number in (23, 39):  # near as thumbs, and by nothing else
            stored["signature"] = signatures(1, seed=number).tobytes()
        made.append(replace(row, file=file, descriptors=stored))
    return [*_alike(made), *_beside(made)]


def _alike(made: list[Record]) -> list[Record]:
    """Give some pictures the bytes, or only the pixels, of another of their cluster."""
    for at in range(16, 32, 2):
        facts: dict[str, Any] = {
            "descriptors": made[at].descriptors,
            "pixel_hash": made[at].pixel_hash,
        }
        if at % 4 == 0:
            facts["content_hash"] = made[at].content_hash
        made[at + 16] = replace(made[at + 16], **facts)
    return made


def _beside(made: list[Record]) -> list[Record]:
    """Return a RAW and its JPEG, near to each other and to a cluster."""
    pair = []
    for number, (name, other) in enumerate(
        [(b"both.jpg", b"both.NEF"), (b"both.NEF", b"both.jpg")]
    ):
        row = record(900 + number)
        file = replace(row.file, path=b"2020/" + name, companions=(other,))
        stored = {**row.descriptors, "thumb": made[3 + 32 * number].descriptors["thumb"]}
        pair.append(replace(row, file=file, descriptors=stored, format=FORMATS[number]))
    return pair


def index_of(place: Path, records: list[Record], *, graph: bool = True) -> Index:
    """Return an index of rows in three segments, under two roots that need not exist."""
    identity.create(place)
    parts = [records[at::3] for at in range(3)]
    entries = tuple(add_segment(place, part, "pictures") for part in parts if part)
    entries = (replace(entries[0], removed=((0, 1),)), *entries[1:])
    roots = tuple(Root(number, b"%s/root%d" % (os.fsencode(place), number)) for number in (1, 2))
    held = {each.name: each.version for each in (THUMB, SIGNATURE)}
    manifest = Manifest(1, "", roots, entries, descriptors=held)
    if graph:
        names = [each.sha256 for each in entries[:2]]  # the rest is scanned
        entry = graphs.make(Snapshot(place, manifest), "thumb", names, threads=1)
        assert entry is not None
        manifest = replace(manifest, graphs=(replace(entry, usable=True),))
    return Index(Snapshot(place, manifest))


def query_of(row: Record) -> Record:
    """Return the picture of a row as a query that is no file of the archive."""
    path = b"/elsewhere/%d.jpg" % row.image_id
    return replace(row, file=replace(row.file, path=path, companions=(), inode=0))


def path_of(index: Index, row: Record) -> bytes:
    """Return the absolute path of a row."""
    return index.snapshot.folders[row.file.root_id] + row.file.path


RECORDS = rows()
"""The same for all tests; not to be changed."""
