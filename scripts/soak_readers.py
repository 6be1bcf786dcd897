"""Eight readers ask while an index is published over and over: no answer fails, none is mixed.

Each reader is a process that opens the index, asks for the neighbours of a picture and for all
pairs, and writes down what it was told and by which snapshot. The writer changes the archive,
builds, and writes down what belongs to which snapshot; now and then it rolls back, or it removes
all snapshots but the current one. In the end every answer must be that of its snapshot.

    python -m scripts.soak_readers [--publishes 50] [--readers 8] [--seed 1] [--json]

Exit codes: 0 all answers were right, 1 one was not.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults import Album, Pairs, Tally, Violation, must, near_probe, true_pairs
from tests.forking import Runner, environment

PAUSE_S = 0.01
"""Between two answers of a reader, so that the writer gets somewhere on two cores."""

READER = """
import json, os, sys, time, traceback
from pathlib import Path
import annidx

index, probe, stop, pause_s = sys.argv[1:]
kept = None
while not Path(stop).exists():
    try:
        if kept is None or time.monotonic() > until:
            kept, until = annidx.open(index), time.monotonic() + 1
        for opened in (annidx.open(index), kept):
            near = opened.query(probe, k=None)
            pairs = opened.find_pairs()
            print(json.dumps({
                "opened": opened.manifest.number,
                "told": [near.answer.snapshot, pairs.answer.snapshot],
                "near": [os.path.basename(match.path) for match in near],
                "pairs": [[os.path.basename(p.a), os.path.basename(p.b)] for p in pairs],
            }))
    except BaseException:
        print(json.dumps({"failed": traceback.format_exc()}))
    time.sleep(float(pause_s))
"""
"""Asks whatever is current, and a snapshot that it has held for up to a second."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a snapshot has to answer."""

    near: frozenset[str]
    pairs: Pairs


def told(album: Album, state: int) -> Told:
    """Return what must be answered about a state of the archive."""
    names = album.states[state]
    return Told(near_probe(names), true_pairs(names))


@contextmanager
def reading(index: Path, album: Album, folder: Path, count: int) -> Iterator[list[Path]]:
    """Let so many readers read; yield the files that they write, whole when this is left."""
    stop, outputs = folder / "stop", [folder / f"reader {at}" for at in range(count)]
    readers = []
    for output in outputs:
        with output.open("wb") as handle:
            words = (str(index), str(album.probe), str(stop), str(PAUSE_S))
            command = [sys.executable, "-c", READER, *words]
            readers.append(subprocess.Popen(command, stdout=handle, env=environment()))
    try:
        yield outputs
    finally:
        stop.touch()
        codes = []
        for reader in readers:
            try:
                codes.append(reader.wait(60))
            except subprocess.TimeoutExpired:
                reader.kill()
                codes.append(reader.wait())
        stop.unlink()
    if any(codes):
        message = f"readers ended with {codes}"
        raise Violation(message)


def check(lines: Sequence[str], truth: dict[int, Told], tally: Tally) -> None:
    """Compare the answers of a reader with what its snapshots had to answer."""
    before = 0
    for line in lines:
        answer = json.loads(line)
        tally.counts["answers"] += 1
        if "failed" in answer:
            tally.violations.append(f"a failed answer: {answer['failed']}")
            continue
        number = answer["opened"]
        pairs = frozenset(frozenset(each) for each in answer["pairs"])
        found = Told(frozenset(answer["near"]), pairs)
        if answer["told"] != [number, number] or found != truth.get(number):
            tally.violations.append(f"a mixed answer: {line}")
        tally.counts["from an older snapshot"] += number < before
        before = max(before, number)


def publish(run: Runner, index: Path, album: Album) -> int:
    """Change the archive and build; return the number of the snapshot."""
    album.change()
    done = must(run("build", album.folder, "--index", index, "--workers", "1", "--json"), 0)
    return int(done.summary["snapshot"])


def soak(
    folder: Path, run: Runner, *, publishes: int, readers: int, seed: int, verbs: Sequence[str]
) -> Tally:
    """Publish so often under so many readers; `verbs` says what there is besides build."""
    tally, rng = Tally(), random.Random(seed)
    album, index = Album(folder / "album", seed), folder / "index"
    truth = {publish(run, index, album): told(album, album.number)}
    with reading(index, album, folder, readers) as outputs:
        while not all(output.stat().st_size for output in outputs):
            time.sleep(0.05)
        for at in range(publishes):
            number = publish(run, index, album)
            truth[number] = told(album, album.number)
            tally.counts["published"] += 1
            if "rollback" in verbs and at % 5 == 4:
                back = int(must(run("rollback", "--index", index, "--json"), 0).summary["snapshot"])
                truth[back] = truth[number - 1]
                tally.counts["rolled back"] += 1
            if "prune" in verbs and rng.random() < 0.5:
                must(run("prune", "--keep", "1", "--keep-hours", "0", "--index", index), 0)
                tally.counts["pruned"] += 1
    for output in outputs:
        check(output.read_text().splitlines(), truth, tally)
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--publishes", type=int, default=50)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    from annidx.cli import VERBS  # noqa: PLC0415 - for the help it is not needed

    sizes = {"publishes": args.publishes, "readers": args.readers, "seed": args.seed}
    with tempfile.TemporaryDirectory() as folder, Runner() as run:
        tally = soak(Path(folder), run, **sizes, verbs=VERBS)
    return tally.report(args.json)


if __name__ == "__main__":
    sys.exit(main())
