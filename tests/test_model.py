"""Any sequence of changes, builds, crashes, roll-backs and prunings, against plain dicts.

The model of an index is, for every snapshot number, the dict of (path -> picture) that it should
hold. What an index answers is compared with distances computed from the dict.
`scripts/soak_model.py` runs it for longer.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from annidx import Index, building, layout, queries
from annidx.errors import IndexDamaged, IndexNotFound
from annidx.model import BuildReport, Record
from annidx.options import Options
from annidx.store import files, history, snapshot
from tests.making import LONG_AGO_NS, grainy, photo
from tests.test_resume import Deadline, Killed, here

pytestmark = [  # what a kill leaves open
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NAMES = [*(f"{number}.png" for number in range(6)), "sub/a.png", "sub/\udcff.png"]
PICTURES = 8
BROKEN = -1
NOW_S = 1_900_000_000
CUTOFF = 300.0

names = st.sampled_from(NAMES)
numbers = st.integers(0, PICTURES - 1)
# Which of what there is: drawn without looking, since graphs do not come out alike each time.
picks = st.integers(0, 10**6)
Holding = dict[str, int]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a kill left open is found here, and not in the middle of another test."""
    yield
    gc.collect()


@cache
def encoded(number: int) -> bytes:
    """Return the bytes of a picture; those of 2n and 2n + 1 are near each other."""
    if number == BROKEN:
        return b"\x89PNG\r\n\x1a\n broken"
    image = photo(number // 2)
    buffer = io.BytesIO()
    (grainy(image, number) if number % 2 else image).save(buffer, "PNG")
    return buffer.getvalue()


@cache
def described(number: int) -> Record:
    return queries.read_query(encoded(number), "thumb")


def apart(one: int, other: int) -> float:
    x, y = (
        np.frombuffer(described(n).descriptors["thumb"], np.uint8).astype(float)
        for n in (one, other)
    )
    return float(np.linalg.norm(x - y))


def pairs_of(holding: Holding) -> set[tuple[str, str]]:
    found = sorted(holding.items(), key=lambda item: os.fsencode(item[0]))
    return {
        (a, b)
        for at, (a, one) in enumerate(found)
        for b, other in found[at + 1 :]
        if apart(one, other) <= CUTOFF
    }


def chosen(things: Sequence[Any], pick: int) -> Any:
    return things[pick % len(things)]


@dataclass
class Reader:
    """An index that was opened some time ago, and what it held then."""

    index: Index
    holding: Holding


@dataclass
class Archive:
    """The folder as it is, and as a dict."""

    folder: Path
    holding: Holding = field(default_factory=dict)
    clock: int = 0

    def write(self, name: str, number: int) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(encoded(number))
        self.clock += 1
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS + self.clock))
        self.holding[name] = number

    @property
    def readable(self) -> Holding:
        return {name: number for name, number in self.holding.items() if number != BROKEN}


class IndexModel(RuleBasedStateMachine):
    """Drives an archive and its index, and knows what the index should hold."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="annidx-model-"))
        self.archive = Archive(self.place / "photos")
        self.archive.folder.mkdir()
        (self.archive.folder / "notes.txt").write_bytes(b"")  # an empty root would be offline
        self.index = self.place / "index"
        self.snapshots: dict[int, Holding] = {}
        self.readers: list[Reader] = []
        self.now_s = float(NOW_S)
        self.killed_with: Holding | None = None

    def teardown(self) -> None:
        if hasattr(self, "place"):
            shutil.rmtree(self.place)

    # What happens to the archive

    @rule(name=names, number=st.one_of(numbers, numbers, numbers, st.just(BROKEN)))
    def write(self, name: str, number: int) -> None:
        self.archive.write(name, number)

    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        if not self.archive.holding:
            return
        name = chosen(sorted(self.archive.holding), pick)
        (self.archive.folder / name).unlink()
        del self.archive.holding[name]

    @rule(pick=picks, new=names, copy=st.booleans())
    def move_or_copy(self, pick: int, new: str, copy: bool) -> None:
        old = chosen(sorted(self.archive.holding) or [new], pick)
        if old == new:
            return
        (self.archive.folder / new).parent.mkdir(exist_ok=True)
        act = shutil.copy2 if copy else shutil.move
        (self.archive.folder / new).unlink(missing_ok=True)
        act(self.archive.folder / old, self.archive.folder / new)
        self.archive.holding[new] = self.archive.holding[old]
        if not copy:
            del self.archive.holding[old]

    # What happens to the index

    @rule(passed_h=st.integers(0, 30), rebuild=st.sampled_from([False, False, False, True]))
    def build(self, passed_h: int, rebuild: bool) -> None:
        self.now_s += 3600 * passed_h
        before = self.numbers()
        report = self.built(rebuild=rebuild)
        assert report.images == len(self.archive.readable)
        assert report.failed == len(self.archive.holding) - report.images
        assert report.published == (report.snapshot not in before)
        self.snapshots[report.snapshot] = self.archive.readable
        assert list((self.index / "tmp").iterdir()) == []
        assert list((self.index / "staging").iterdir()) == []
        self.nothing_is_left_over()
        after = report.snapshot, report.published
        again = self.built()
        assert (again.snapshot, again.published) == (after[0], False)

    def built(self, *, rebuild: bool = False) -> BuildReport:
        options = Options(workers=1, rebuild=rebuild, force=True)
        with (
            mock.patch.multiple(building, map_items=here),
            mock.patch.object(layout, "TAIL_ROWS", 3),
        ):
            return building.build(
                [self.archive.folder], self.index, options, clock=lambda: int(self.now_s * 1e9)
            )

    @rule(calls=st.integers(1, 60), kill=st.booleans())
    def crash(self, calls: int, kill: bool) -> None:
        before = self.numbers()
        with pytest.MonkeyPatch.context() as patch:
            Deadline(calls, kill=kill, patch=patch)
            with contextlib.suppress(Killed):
                self.built()
        for number in self.numbers() - before:  # it was published, and what came after died
            self.snapshots[number] = self.archive.readable

    @rule(pick=picks)
    def roll_back(self, pick: int) -> None:
        if not self.numbers():
            return
        number = chosen(sorted(self.numbers()), pick)
        with files.writer_lock(self.index):
            made = history.roll_back(self.index, "2026-11-22T00:00:00+00:00", number)
        self.snapshots[made.number] = self.snapshots[number]

    @rule(keep=st.integers(0, 3))
    def prune(self, keep: int) -> None:
        if not self.numbers():
            return
        newest = max(self.numbers())
        with files.writer_lock(self.index):
            pruned = history.prune(self.index, self.now_s, keep=keep, keep_s=0)
        assert newest in pruned.kept
        assert len(pruned.kept) <= max(1, keep)
        self.nothing_is_left_over()

    @rule(pick=picks, how=st.sampled_from(["flip", "cut", "drop", "zero"]))
    def damage(self, pick: int, how: str) -> None:
        """One file is damaged, and the next build mends it: nothing is lost or made up."""
        if not self.numbers():
            return
        manifest = snapshot.current(self.index).manifest
        there = sorted(history.named(self.index, manifest))
        path = chosen([*there, self.index / "annidx.json"], pick)
        whole = path.read_bytes()
        at = pick % len(whole)
        if how == "drop":
            path.unlink()
        else:
            path.write_bytes(
                {
                    "flip": whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :],
                    "cut": whole[:at],
                    "zero": bytes(len(whole)),
                }[how]
            )
        damaged = [each.path for each in history.verify(self.index) if each]
        assert damaged in ([], [str(path)])  # [] when it still says the same: a space, a key
        with contextlib.suppress(IndexDamaged):
            self.the_current_one_is_right()
        self.build(0, rebuild=False)
        assert not any(history.verify(self.index))
        self.snapshots = {n: self.snapshots[n] for n in self.numbers()}

    @rule()
    def open(self) -> None:
        if not self.numbers():
            return
        opened = Index(snapshot.current(self.index))
        self.readers.append(Reader(opened, self.snapshots[opened.manifest.number]))

    # What holds at any time

    @invariant()
    def the_current_one_is_right(self) -> None:
        if not self.numbers():
            with pytest.raises(IndexNotFound):
                snapshot.current(self.index)
            return
        assert self.numbers() <= set(self.snapshots)
        self.is_right(
            Reader(Index(snapshot.current(self.index)), self.snapshots[max(self.numbers())])
        )

    @invariant()
    def readers_keep_what_they_opened(self) -> None:
        for reader in self.readers[-2:]:
            self.is_right(reader)

    def is_right(self, reader: Reader) -> None:
        index, holding = reader.index, reader.holding
        rows = np.flatnonzero(index.snapshot.pictures.live)
        assert sorted(map(self.name, index.snapshot.paths(rows))) == sorted(holding)
        for exact in (False, True):
            found = {
                (self.name(pair.raw_a), self.name(pair.raw_b))
                for pair in index.find_pairs(cutoff=CUTOFF, exact=exact)
            }
            assert found == pairs_of(holding)
        near = {name for name, number in holding.items() if apart(number, 0) <= CUTOFF}
        matches = index.query(encoded(0), cutoff=CUTOFF, k=None)
        assert {self.name(match.raw_path) for match in matches} == near

    def name(self, path: bytes) -> str:
        return os.fsdecode(path.removeprefix(os.fsencode(self.archive.folder) + b"/"))

    def numbers(self) -> set[int]:
        return {int(path.stem) for path in files.manifest_paths(self.index)}

    def nothing_is_left_over(self) -> None:
        named = {
            path
            for each in history.listing(self.index)
            if each.manifest
            for path in history.named(self.index, each.manifest)
        }
        there = {path for name in ("segments", "graphs") for path in (self.index / name).iterdir()}
        assert there == named


IndexModel.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=16,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # to shrink would take minutes, and slow it all down by tracing
    suppress_health_check=list(HealthCheck),
)
test_any_sequence = IndexModel.TestCase
