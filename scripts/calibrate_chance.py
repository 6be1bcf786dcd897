"""Measure what annidx/search/chance.py knows beforehand: the tails of scores of unrelated pairs.

Takes sets of pictures as scripts/accuracy_sets.py writes them: folders with truth.csv. All pairs of
a set are searched, by default views. Pairs of different groups count, if of different roles or
photos: icons of one theme may be of one family. For each pair of classes it prints the share of
pairs from a strength of LEAST on, and the scale of the tail, of what proves less than END: what
agrees better may be the same thing after all. The set that has more of such pairs decides.

    python -m scripts.calibrate_chance SETS/unrelated SETS/pages [--indexes DIR] [--json]

The priors in the code are of these two sets, in some 10 CPU minutes. With --indexes the indexes are
kept, as DIR/unrelated, and taken from there the next time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx import cli
from annidx.engines import Engines
from annidx.search import recognise
from annidx.search.chance import CLASSES, PAIRS, pairs_of, proofs, strengths
from annidx.search.tails import LEAST, scale_of
from annidx.store.snapshot import current
from scripts.accuracy_truth import Truth, read

END = 1.2
"""Proven by scores of about .86, from which on pairs do not count for the scale."""
FEWEST_PAIRS, FEWEST = 100_000, 20
"""So many pairs of two classes a set needs to tell anything of them, and so many in the tail."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """The tail of the pairs of two classes in a set; see :mod:`annidx.search.tails`."""

    set: str
    classes: str
    pairs: float
    seen: int
    rate: float
    scale: float


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", type=Path, nargs="+", metavar="SET")
    parser.add_argument("--indexes", type=Path, help="keep the indexes here")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as temporary:
        place = args.indexes or Path(temporary)
        tails = [tail for folder in args.sets for tail in measured(folder, place / folder.name)]
    priors = {
        name: max((tail for tail in tails if tail.classes == name), key=lambda tail: tail.rate)
        for name in dict.fromkeys(tail.classes for tail in tails)
    }
    if args.json:
        print(json.dumps({"tails": [*map(asdict, tails)], "priors": _plain(priors)}))
        return 0
    for tail in tails:
        chosen = "*" if priors[tail.classes] is tail else ""
        print(
            f"{tail.set:12} {tail.classes:20} {tail.pairs:10.3g} pairs {tail.seen:8,} seen  "
            f"rate {tail.rate:.1e}  scale {tail.scale:.3f} {chosen}"
        )
    return 0


def _plain(priors: dict[str, Measured]) -> dict[str, Any]:
    return {name: [tail.rate, tail.scale] for name, tail in priors.items()}


def measured(folder: Path, index: Path) -> Iterator[Measured]:
    """Yield the tails of a set, whose index is made where there is none."""
    if not (index / "annidx.json").exists():
        index.mkdir(parents=True, exist_ok=True)
        words = ["--index", str(index), "build", "--quiet", "--descriptors", "thumb,fingerprint"]
        if cli.main([*words, str(folder)]) != 0:
            sys.exit(f"{folder} could not be indexed; see above")
    truth = read([folder])
    snapshot = current(index)
    archive = Engines(snapshot).recognition.archive
    every = np.arange(len(archive.prints))
    paths = [path.decode() for path in snapshot.paths(every)]
    number = np.array([truth.number.get(path, -1) for path in paths])
    rows = every[archive.prints.live & (number >= 0)]
    told = archive.classes(every)
    roles = np.unique([each.role for each in truth.pictures], return_inverse=True)[1]
    photos = np.array([each.role == "photo" for each in truth.pictures])
    families = np.where(photos, len(roles) + np.arange(len(roles)), roles)
    seen = []
    for found in recognise.of_rows(archive, rows, views="default"):
        looks, one, other = found.looks, number[found.one], number[found.other]
        if looks is None:
            continue
        apart = (one >= 0) & (other >= 0) & (truth.groups[one] != truth.groups[other])
        apart &= (families[one] != families[other]) & ~_related(truth, one, other)
        which = pairs_of(told[found.one], told[found.other])
        proven = proofs(looks.scores, looks.structures, found.distances, which)
        reached = strengths(proven, which)
        seen.append(np.stack([which, reached], axis=1)[apart])
    possible = _possible(told[rows], truth.groups[number[rows]], families[number[rows]])
    yield from _tails(folder.name, np.concatenate(seen), possible)


def _related(truth: Truth, one: Any, other: Any) -> npt.NDArray[np.bool_]:
    known = {(int(a), int(b)) for a, b in truth.related}
    pairs = zip(np.minimum(one, other).tolist(), np.maximum(one, other).tolist(), strict=True)
    return np.array([pair in known for pair in pairs], np.bool_)


def _possible(told: Any, groups: Any, families: Any) -> Numbers:
    """Return how many pairs of each of PAIRS differ in group and family."""
    held = [_counts(told, each) for each in (groups, families)]
    both = _counts(told, np.unique(np.stack([groups, families]), axis=1, return_inverse=True)[1])
    total = np.bincount(told, minlength=len(CLASSES)).astype(float)
    result = []
    for a, b in PAIRS:
        inside = [float((each[:, a] * each[:, b]).sum()) for each in (*held, both)]
        pairs = total[a] * total[b] - inside[0] - inside[1] + inside[2]
        result.append(pairs / (2 if a == b else 1))
    return np.array(result)


def _counts(told: Any, labels: Any) -> Numbers:
    counts = np.zeros((int(labels.max()) + 1, len(CLASSES)))
    np.add.at(counts, (labels.ravel(), told), 1)
    return counts


def _tails(name: str, seen: Numbers, possible: Numbers) -> Iterator[Measured]:
    for number, (a, b) in enumerate(PAIRS):
        reached = seen[seen[:, 0] == number, 1]
        end = float(strengths(np.array([END]), np.array([number]))[0])
        reached = reached[reached >= LEAST]
        within = reached[reached < end] - LEAST
        pairs = float(possible[number])
        if pairs < FEWEST_PAIRS or len(within) < FEWEST:
            continue
        scale = scale_of(float(within.mean()), end - LEAST)
        told = f"{CLASSES[a]}, {CLASSES[b]}"
        yield Measured(name, told, pairs, len(reached), len(reached) / pairs, scale)


if __name__ == "__main__":
    sys.exit(main())
