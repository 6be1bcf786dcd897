"""What the fault tests and the soak scripts share: a changing archive, and what must always hold.

Names tell the truth: all pictures of one group ("g003-...") are near-copies, two groups have
nothing in common. Each state of the archive has one picture of its own ("g000-mark00007.png"), so
that an answer about group 0 tells of which state it is.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from tests.forking import Done, Runner
from tests.making import LONG_AGO_NS, grainy, photo, save

GROUPS = 4
NO_INDEX = 10
SUFFIX = ".png"

Pairs = frozenset[frozenset[str]]


class Violation(AssertionError):
    """What must never be."""


@dataclass(slots=True)
class Tally:
    """Counts of a soak.

    Attributes
    ----------
    counts : Counter
        Faults by what became of them: 'tried', 'survived old', 'survived new', ...
    violations : list of str
    """

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def report(self, as_json: bool) -> int:
        """Print the counts; return the exit code."""
        if as_json:
            print(json.dumps({**self.counts, "violations": self.violations}))  # noqa: T201
        else:
            for name, count in self.counts.items():
                print(f"{name:24} {count:7,}")  # noqa: T201
            print(f"{'violations':24} {len(self.violations):7,}", *self.violations, sep="\n")  # noqa: T201
        return 1 if self.violations else 0


class Album:
    """A folder of small pictures that changes from state to state.

    Parameters
    ----------
    folder : Path
        Made anew.
    seed : int
    pictures : int
        In the first state.

    Attributes
    ----------
    number : int
        Of the state that the folder is in.
    states : dict of int to frozenset of str
        The names of the pictures of each state.
    probe : Path
        A picture of group 0, beside the folder.
    """

    def __init__(self, folder: Path, seed: int, pictures: int = 10) -> None:
        self.folder, self.number, self.states = folder, 0, dict[int, frozenset[str]]()
        self._rng = random.Random(seed)
        self._fresh = itertools.count()
        self._names: list[str] = []
        folder.mkdir(parents=True)
        self.probe = save(folder.parent / "probe.png", photo(0))
        (folder / "notes.txt").write_text("no picture: a row of the other kind\n")
        for at in range(pictures):
            self._add(at % GROUPS)
        self.change(0)

    @property
    def names(self) -> frozenset[str]:
        """The pictures in the folder now."""
        return self.states[self.number]

    def change(self, most: int = 2) -> None:
        """Go to the next state: another mark, and up to `most` of each kind of change."""
        for old in [name for name in self._names if "mark" in name]:
            self._remove(old)
        self.number += 1
        self._write(f"g000-mark{self.number:05}{SUFFIX}")
        for _ in range(self._rng.randint(0, most)):
            self._add(self._rng.randrange(GROUPS))
        plain = [name for name in self._names if "mark" not in name]
        self._rng.shuffle(plain)
        for name in plain[: self._rng.randint(0, most)]:
            if len(plain) > 2 * GROUPS:
                self._remove(name)
        for name in plain[most : most + self._rng.randint(0, most)]:
            self._move(name)
        for name in plain[2 * most : 2 * most + self._rng.randint(0, most)]:
            self._write(name)
        self.states[self.number] = frozenset(self._names)

    def _add(self, group: int) -> None:
        self._write(f"g{group:03}-{next(self._fresh):05}{SUFFIX}")

    def _write(self, name: str) -> None:
        grain = grainy(photo(int(name[1:4])), self._rng.randrange(2**31))
        later = LONG_AGO_NS + self._rng.randrange(10**15)
        save(self.folder / name, grain, mtime_ns=later)
        if name not in self._names:
            self._names.append(name)

    def _move(self, name: str) -> None:
        new = f"{name[:4]}-moved{next(self._fresh):05}{SUFFIX}"
        (self.folder / name).rename(self.folder / new)
        self._names[self._names.index(name)] = new

    def _remove(self, name: str) -> None:
        (self.folder / name).unlink()
        self._names.remove(name)


def true_pairs(names: frozenset[str]) -> Pairs:
    """Return the pairs that a state has."""
    ends = itertools.combinations(sorted(names), 2)
    return frozenset(frozenset(pair) for pair in ends if pair[0][:4] == pair[1][:4])


def near_probe(names: frozenset[str]) -> frozenset[str]:
    """Return the neighbours of the probe that a state has."""
    return frozenset(name for name in names if name.startswith("g000"))


def state_of(album: Album, found: frozenset[str]) -> int:
    """Return the state that a query of the probe is the whole answer of."""
    marks = [int(name[9:14]) for name in found if name.startswith("g000-mark")]
    if len(marks) != 1 or found != near_probe(album.states.get(marks[0], frozenset())):
        message = f"an answer of no one state: {sorted(found)}"
        raise Violation(message)
    return marks[0]


def asked(done: Done) -> frozenset[str]:
    """Return the names in the answer of a query."""
    return frozenset(Path(row["path"]).name for row in done.rows)


def paired(done: Done) -> Pairs:
    """Return the names in the answer of pairs."""
    return frozenset(
        frozenset((Path(row["a"]).name, Path(row["b"]).name)) for row in done.rows if "a" in row
    )


def must(done: Done, *codes: int) -> Done:
    """Check what holds for every call: no crash, no hang, nothing left, one of these exit codes."""
    for wrong, what in (
        (done.hung, "it hangs"),
        (done.code < 0 and done.code not in codes, "it crashes"),
        ("Traceback" in done.err, "a traceback"),
        (bool(done.left), f"processes {done.left} are left"),
        (bool(codes) and done.code not in codes, f"exit code {done.code}, not one of {codes}"),
    ):
        if wrong:
            message = f"{what}: {done}"
            raise Violation(message)
    return done


def whole_state(run: Runner, index: Path, album: Album, *, empty: bool = False) -> int:
    """Check that an index is whole and answers from one snapshot; return that one's state.

    0 when nothing was published yet, which is allowed with `empty`.
    """
    allowed = (0, NO_INDEX) if empty else (0,)
    if must(run("verify", "--json", "--index", index), *allowed).code == NO_INDEX:
        must(run("query", album.probe, "--json", "--index", index), NO_INDEX)
        return 0
    words = ("-k", "1000", "--engine", "graph")  # else so few pictures would be scanned
    query = run("query", album.probe, *words, "--json", "--index", index)
    if must(query, *allowed).code == NO_INDEX:
        return 0
    state = state_of(album, asked(query))
    pairs = must(run("pairs", "--json", "--index", index), 0)
    if paired(pairs) != true_pairs(album.states[state]):
        message = f"the query is of state {state}, the pairs are not: {pairs}"
        raise Violation(message)
    return state


def index_is_whole(run: Runner, index: Path, album: Album, *, empty: bool = False) -> int:
    """Check what must hold after any fault; return the state of the snapshot that there was.

    The index is whole, the next build succeeds, and after it the index holds what the folder does
    and no file that nothing refers to.
    """
    before = whole_state(run, index, album, empty=empty)
    must(run("build", album.folder, "--workers", "1", "--json", "--index", index), 0)
    is_current(run, index, album)
    return before


def is_current(run: Runner, index: Path, album: Album) -> None:
    """Check that an index holds what the folder does, and nothing is left over in it."""
    state = whole_state(run, index, album)
    listed = must(run("listing", index), 0)
    found = Counter(Path(row["path"]).name for row in listed.rows)
    if state != album.number or found != Counter(album.names):
        message = f"the folder is in state {album.number} {sorted(album.names)}, the index in "
        message += f"{state} {sorted(found.elements())}"
        raise Violation(message)
    if left := unreferenced(index):
        message = f"nothing refers to {left}"
        raise Violation(message)


def unreferenced(index: Path) -> list[str]:
    """Return what lies in an index without a manifest that names it."""
    named = set()
    for path in (index / "snapshots").glob("*.json"):
        fields = json.loads(path.read_bytes())
        named |= {f"{each['sha256']}.parquet" for each in fields["segments"]}
        named |= {f"{each['sha256']}.hnsw" for each in fields["graphs"]}
        named |= {f"{each['sidecar_sha256']}.json" for each in fields["graphs"]}
    folders = ("segments", "graphs", "tmp", "staging")
    there = [path for folder in folders for path in (index / folder).iterdir()]
    return [str(path.relative_to(index)) for path in there if path.name not in named]


def missing(what: str) -> NoReturn:
    """Skip a test for want of something, but fail in CI, where a skip would go unnoticed."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def strace() -> str:
    """Return the path of strace, which scripts/ci-setup installs; see :func:`missing`."""
    found = shutil.which("strace")
    if found is None:
        missing("needs strace (scripts/ci-setup installs it)")
    trial = subprocess.run([found, "-qq", "true"], capture_output=True, check=False)
    if trial.returncode:
        missing("strace may not trace here")
    return found
