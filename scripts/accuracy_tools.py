"""annidx as a whole, through its command line at default settings, on pictures that are known.

A throw-away index is built of all pictures; pairs and queries are asked of it as a user would, and
what they answer is counted. A metric or an option that this annidx does not have is left out, with
a line that says so.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.accuracy_counts import RATES, Tally, mean
from scripts.accuracy_truth import ORIGINAL, OTHER, RELATIONS, Label, Truth, pairs_of
from scripts.metering import in_command

Row = dict[str, Any]

KINDS = ("identical", "same-pixels", "edited", "same-scene", "similar")
DUPLICATES = KINDS[:3]
"""Kinds for which a removal is suggested."""
TESTED_RATES = (1e-5, 1e-6, 1e-7)
USAGE = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """What a verb answers: its lines, the last one, what it took; or why it was refused."""

    rows: list[Row]
    summary: Row
    cost: dict[str, float]
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A pair that annidx prints: numbers of pictures, and what it says of them.

    `score` and `chance` are None where it prints none.
    """

    one: int
    other: int
    distance: float
    kind: str
    score: float | None
    chance: float | None

    @property
    def order(self) -> float:
        """What pairs are ordered and cut by: chance where there is one."""
        return self.distance if self.chance is None else self.chance


def annidx(*words: str | Path, stdin: bytes = b"") -> Asked:
    """Run a verb with --json.

    Exits when it fails, unless it was called as it cannot be, as with an unknown metric.
    """
    command = [sys.executable, "-m", "annidx", *map(str, words), "--json"]
    ran = in_command(command, stdin=stdin)
    if ran.code == USAGE:
        return Asked([], {}, ran.cost, ran.errors.strip().splitlines()[-1])
    if ran.code not in (0, 3):
        sys.exit(f"annidx {' '.join(map(str, words))} ended with {ran.code}: {ran.errors.strip()}")
    lines = [json.loads(line) for line in ran.output.splitlines()]
    rows = [line for line in lines if "message_type" not in line]
    return Asked(rows, lines[-1], ran.cost)


def build(roots: Sequence[Path], index: Path) -> Row:
    """Build an index; return its cost and its summary."""
    ran = annidx("build", *roots, "--index", index)
    if ran.refused:
        sys.exit(ran.refused)
    return {"verb": "build", **ran.cost, "summary": ran.summary}


def pairs(index: Path, metric: str, truth: Truth, *words: str) -> tuple[list[Found], Row] | None:
    """Ask for all pairs; return them and what it took. None: this annidx refuses it."""
    ran = annidx("pairs", "--metric", metric, *words, "--index", index)
    if ran.refused:
        print(f"  pairs {' '.join((metric, *words))}: {ran.refused}", file=sys.stderr)
        return None
    found = [
        Found(
            truth.number[row["a"]],
            truth.number[row["b"]],
            row["distance"],
            row["kind"],
            row.get("score"),
            row.get("chance"),
        )
        for row in ran.rows
    ]
    return found, {"verb": f"pairs {metric}", **ran.cost, "summary": ran.summary}


def tally(found: Sequence[Found], truth: Truth) -> Tally:
    """Return pairs as distances, or chances: those that were not found lie at infinity."""
    order = {frozenset((each.one, each.other)): each.order for each in found}
    edits = {
        name: np.array([order.get(frozenset(pair), np.inf) for pair in known])
        for name, known in truth.edits.items()
    }
    relations = np.array([truth.relation(each.one, each.other) for each in found], object)
    places = np.array([each.order for each in found], np.float64)
    made = Tally(np.sort(places[relations == "true"]), edits, truth.true, truth.false)
    made.add_false(places[relations == "false"], len(found) + 1, np.inf)
    made.limit = float(places.max()) if len(found) else -np.inf
    return made


def judged(found: Sequence[Found], truth: Truth) -> Row:
    """Return recall, precision, false pairs and kinds of the pairs at default settings."""
    counted = tally(found, truth)
    whole = counted.at(counted.limit)
    precise = counted.precise()
    rate = whole["false_pairs"] / truth.false if truth.false else 0.0
    return {
        **whole,
        "pairs": len(found),
        "recall_by_edit": counted.recall(counted.limit),
        "precise": counted.at(precise) if precise is not None else None,
        "rate": rate,
        "curve": [
            recall if at <= max(rate, 1 / max(1, truth.false)) else None
            for at, recall in zip(RATES, counted.curve(), strict=True)
        ],
        "false": [
            _false(each, truth) for each in found if truth.relation(each.one, each.other) == "false"
        ],
        "kinds_by_edit": kinds_by_edit(found, truth),
        "kinds": kinds(found, truth),
    }


def _false(pair: Found, truth: Truth) -> Row:
    paths = {
        name: str(truth.pictures[at].path) for name, at in (("a", pair.one), ("b", pair.other))
    }
    facts = {"distance": pair.distance, "score": pair.score, "chance": pair.chance}
    return {**paths, **facts, "kind": pair.kind, "sort": truth.label(pair.one, pair.other)[0]}


def kinds_by_edit(found: Iterable[Found], truth: Truth) -> dict[str, dict[str, int]]:
    """Count the kinds of original and edit by the name of the edit; 'missed' are not found."""
    named = {frozenset((each.one, each.other)): each.kind for each in found}
    return {
        name: dict(Counter(named.get(frozenset(pair), "missed") for pair in known))
        for name, known in truth.edits.items()
    }


def kinds(found: Iterable[Found], truth: Truth) -> list[Row]:
    """Count the kinds of each sort of pair, beside how many pairs of it there are."""
    counts: dict[Label, Counter[str]] = defaultdict(Counter)
    for each in found:
        counts[truth.label(each.one, each.other)][each.kind] += 1
    sorts = truth.possible()
    rows = []
    for label in sorted(sorts, key=lambda label: (RELATIONS.index(label[1]), label[0])):
        named, possible = counts[label], sorts[label]
        duplicates = sum(named[kind] for kind in DUPLICATES)
        rows.append(
            {
                "sort": label[0],
                "relation": label[1],
                "possible": possible,
                **{kind: named[kind] for kind in (*KINDS, *sorted({*named} - {*KINDS}))},
                "missed": possible - named.total(),
                "duplicates_per_10000": 10_000 * duplicates / possible,
            }
        )
    return rows


# Is the chance what it says?


def chances(index: Path, metric: str, truth: Truth) -> list[Row]:
    """Compare how many false pairs are predicted at some rates with how many there are."""
    answer = pairs(index, metric, truth, "--fpr", f"{TESTED_RATES[0]:g}")
    if answer is None or any(each.chance is None for each in answer[0]):
        why = "no --fpr here" if answer is None else "no chance in its pairs"
        print(f"  chance of {metric}: {why}, not verified", file=sys.stderr)
        return []
    every = pairs_of(len(truth))
    return [predicted(answer[0], truth, rate, every) for rate in TESTED_RATES]


def predicted(found: Iterable[Found], truth: Truth, rate: float, every: int) -> Row:
    """Return the false pairs that a rate predicts and those there are; the factor between them."""
    expected = rate * every
    false = sum(
        truth.relation(each.one, each.other) == "false"
        for each in found
        if each.chance is not None and each.chance <= expected
    )
    factor = max(false / expected, expected / false) if false else None
    within = factor is not None and factor <= 3
    # Where fewer than 3.7 are expected, seeing none is no rare thing (1 in 40).
    verdict = "yes" if within else "too few to tell" if expected < 3.7 else "no"
    row = {"rate": rate, "predicted": expected, "observed": int(false), "factor": factor}
    return {**row, "within_3": verdict}


# Queries


def queries(place: Path, metric: str, truth: Truth) -> list[Row]:
    """Ask for each edit where its original is indexed, and for each original where its edits are.

    Parameters
    ----------
    place : Path
        A folder that does not exist, for the pictures and the two indexes.
    """
    originals = [at for at, each in enumerate(truth.pictures) if each.role == ORIGINAL]
    edits = sorted({edit for known in truth.edits.values() for _, edit in known})
    most = max(Counter(truth.pictures[at].group for at in edits).values(), default=1)
    rows = []
    for name, asked, indexed, words in (
        ("edits in originals", edits, originals, ()),
        ("originals in edits", originals, edits, ("-k", str(2 * most))),
    ):
        others = [at for at, each in enumerate(truth.pictures) if each.role == OTHER]
        folder = place / name.replace(" ", "-")
        known = _linked(folder, truth, [*indexed, *others])
        index = folder.with_suffix(".annidx")
        if not index.exists():
            build([folder], index)
        stdin = b"".join(os.fsencode(truth.pictures[at].path) + b"\0" for at in asked)
        ran = annidx("query", "-0", "--metric", metric, *words, "--index", index, stdin=stdin)
        if ran.refused:
            break
        rows.append({"work": f"{metric}: {name}", **_answered(ran, truth, known)})
    return rows


def _linked(folder: Path, truth: Truth, indexed: Iterable[int]) -> dict[str, int]:
    """Put pictures into a folder of their own; return their numbers by their new paths."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {}
    for at in indexed:
        source = truth.pictures[at].path
        path = folder / f"{at}{source.suffix}"
        if not path.exists():
            shutil.copy2(source, path)  # a link would be the same file, which is no neighbour
        known[str(path.resolve())] = at
    return known


def _answered(ran: Asked, truth: Truth, known: dict[str, int]) -> Row:
    met: set[tuple[int, int]] = set()
    false = 0
    for line in ran.rows:
        one, other = truth.number[str(Path(line["query"]).resolve())], known[line["path"]]
        relation = truth.relation(one, other)
        false += relation == "false"
        if relation == "true":
            met |= {(one, other), (other, one)}
    recall = {
        name: sum(pair in met for pair in known_pairs) / len(known_pairs)
        for name, known_pairs in truth.edits.items()
    }
    summary = ran.summary
    asked = summary["queries"]
    return {
        "queries": asked,
        "recall": mean(recall),
        "false": false,
        "recall_by_edit": recall,
        "ms_a_query": 1000 * summary["seconds"] / asked if asked else None,
        **{name: summary[name] for name in ("p50_ms", "p99_ms") if name in summary},
        **ran.cost,
    }
