"""Make one system call of a build fail after the other, and see what becomes of the index.

By strace: EIO on each fsync, ENOSPC on each write alone and on all from it on, SIGKILL at each
rename, link and unlink (with --all at every write, fsync and open as well). Of a first build, a
later one that makes a new graph, one that goes on where a killed one ended, a rollback and a prune.
After each fault the index must be as it was or as it should have become, and the next build must
succeed and leave nothing over.

    python -m scripts.soak_syscalls [--all] [--limit N] [--seed 1] [--json]

Exit codes: 0 all survived, 1 a violation.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults import Album, Tally, Violation, index_is_whole, must, strace
from tests.forking import Done, Runner

SYNCS = ("fsync", "fdatasync", "msync", "syncfs", "sync_file_range")
WRITES = ("write", "pwrite64", "writev", "pwritev", "ftruncate")
NAMES = ("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat")
OTHERS = ("openat", "mkdir", "flock")
CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)$")
BUILDS = ("first", "later", "resumed")
VERBS = {"rollback": ("--json",), "prune": ("--keep", "1", "--keep-hours", "0")}
"""What else writes into an index; scenarios of these names begin with two snapshots."""
SCENARIOS = (*BUILDS, *VERBS)


@dataclass(frozen=True, slots=True)
class Call:
    """One system call of a build.

    Attributes
    ----------
    name : str
    number : int
        1 for the first call of this name.
    arguments : str
        As strace prints them, with the paths of descriptors.
    """

    name: str
    number: int
    arguments: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what it is called, and the options of strace that make it."""

    name: str
    options: tuple[str, ...]


class Place:
    """An archive and the indexes to be damaged: each fault has a copy of its own.

    Parameters
    ----------
    folder : Path
    seed : int
    run : Runner
    """

    def __init__(self, folder: Path, seed: int, run: Runner) -> None:
        self.folder, self.run = folder, run
        self.album = Album(folder / "album", seed)
        self.index = folder / "index"
        old = folder / "later"
        must(self.write("later", old), 0)
        self.album.change()
        shutil.copytree(old, folder / "resumed")
        killed = self.write("resumed", folder / "resumed", "-e", "inject=link:signal=KILL:when=1")
        assert killed.code == -9, killed
        for verb in VERBS:
            shutil.copytree(old, folder / verb)
            must(self.write("later", folder / verb), 0)

    def write(self, scenario: str, index: Path, *strace: str) -> Done:
        """Do what a scenario does, traced if options of strace are given."""
        words: tuple[str | Path, ...] = (scenario, *VERBS.get(scenario, ()))
        if scenario in BUILDS:
            words = ("build", self.album.folder, "--workers", "1", "--rebuild-graphs")
        options = ("-o", str(self.folder / "log"), *strace) if strace else ()
        return self.run(*words, "--index", index, strace=options)

    def states(self, scenario: str) -> tuple[int, int]:
        """Return the states before and after what a scenario does."""
        return {"first": (0, 2), "rollback": (2, 1), "prune": (2, 2)}.get(scenario, (1, 2))

    def fresh(self, scenario: str) -> None:
        """Put an index in its place as a scenario has it before the build."""
        shutil.rmtree(self.index, ignore_errors=True)
        if scenario != "first":
            shutil.copytree(self.folder / scenario, self.index)

    def calls(self, scenario: str) -> list[Call]:
        """Return the calls of a build to which nothing happens."""
        self.fresh(scenario)
        traced = ",".join((*SYNCS, *WRITES, *NAMES, *OTHERS))
        must(self.write(scenario, self.index, "-y", "-s", "0", "-e", f"trace={traced}"), 0)
        return list(parsed((self.folder / "log").read_text()))


def parsed(log: str) -> Iterator[Call]:
    """Yield the calls of a log of strace."""
    counts: Counter[str] = Counter()
    for line in log.splitlines():
        if (found := CALL.match(line)) is not None:
            counts[found[1]] += 1
            yield Call(found[1], counts[found[1]], found[2])


def faults(calls: Sequence[Call], folder: str, everything: bool) -> Iterator[Fault]:
    """Yield the faults of a build that makes these calls; of writes those into `folder`."""
    before: Counter[str] = Counter()
    for call in calls:
        before[call.name] = call.number
        if call.name in SYNCS:
            yield _fault("EIO", call, "error=EIO")
        if call.name in WRITES and folder in call.arguments:
            yield _fault("ENOSPC", call, "error=ENOSPC")
            options = [_from_here(name, before[name] + (name != call.name)) for name in WRITES]
            name = f"ENOSPC from {call.name} {call.number} on"
            yield Fault(name, tuple(word for each in options for word in ("-e", each)))
        if call.name in NAMES or everything:
            yield _fault("SIGKILL", call, "signal=KILL")


def _fault(what: str, call: Call, how: str) -> Fault:
    option = f"inject={call.name}:{how}:when={call.number}"
    return Fault(f"{what} at {call.name} {call.number}", ("-e", option))


def _from_here(name: str, number: int) -> str:
    return f"inject={name}:error=ENOSPC:when={number}+"


def suffer(place: Place, scenario: str, fault: Fault, tally: Tally) -> None:
    """Make one fault happen and check what must hold after it."""
    place.fresh(scenario)
    done = must(place.write(scenario, place.index, *fault.options), *expected(fault))
    if "EIO" in fault.name and "Input/output error" not in done.err:
        message = f"the error is not named: {done}"
        raise Violation(message)
    if done.code == 1 and " on" not in fault.name and done.err.count("\n") != 1:
        message = f"not one line: {done}"
        raise Violation(message)
    old, new = place.states(scenario)
    state = index_is_whole(place.run, place.index, place.album, empty=scenario == "first")
    if state not in (old, new):
        message = f"state {state} is neither the old nor the new one"
        raise Violation(message)
    if done.code == 0 and state != new:
        message = f"it succeeded and published nothing: {done}"
        raise Violation(message)
    tally.counts["survived old" if state == old else "survived new"] += 1


def expected(fault: Fault) -> tuple[int, ...]:
    """Return the exit codes that a build may have: a failed fsync is no success."""
    if "SIGKILL" in fault.name:
        return (-9,)
    return (1,) if "EIO" in fault.name else (0, 1)


def soak(
    folder: Path, run: Runner, *, seed: int, limit: int | None, everything: bool = False
) -> Tally:
    """Make all faults happen, or a sample of `limit` of them."""
    strace()
    tally, place = Tally(), Place(folder, seed, run)
    todo = []
    for scenario in SCENARIOS:
        calls = place.calls(scenario)
        todo += [(scenario, each) for each in faults(calls, str(place.index), everything)]
    if limit is not None and limit < len(todo):
        todo = random.Random(seed).sample(todo, limit)
    for scenario, fault in todo:
        tally.counts["tried"] += 1
        tally.counts[fault.name.split()[0]] += 1
        try:
            suffer(place, scenario, fault, tally)
        except Violation as error:
            tally.violations.append(f"{scenario}, {fault.name}: {error}")
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="SIGKILL at every traced call")
    parser.add_argument("--limit", type=int, help="try a sample of so many faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, Runner() as run:
        where = Path(folder)
        tally = soak(where, run, seed=args.seed, limit=args.limit, everything=args.all)
    return tally.report(args.json)


if __name__ == "__main__":
    sys.exit(main())
