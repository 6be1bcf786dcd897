"""Precision and recall of groups, by metric, cutoff, linkage and confirmation.

Makes two archives that have no picture in common: one to choose a rule by, one held out to say what
the rule is worth. Each holds several sets, judged alone and all together:

* photos, drawings: the 52 edits of ../shared/bench/attacks.py of some pictures of Caltech-101,
  among all others; a drawing is one of which more than half is one colour;
* page, letter, chat, slide: made pages on like paper, letters of two sides, chats and slides, some
  of them rescanned, and among them empty pages (tests/pages.py);
* views: objects of UKBench, four photos each, which are related and no duplicates of one another;
* formats: imagededup's pictures (held out only: they are few).

Of two pictures in one group: *true* if one was made from the other, *related* if they are views of
one object, else *false*. Precision is true / (true + false), recall the share of all true pairs
that fall into one group. A group is impure when it holds a false pair.

    scripts/bench_groups.py [--originals 16] [--writing 40] [--json]
        [--metric thumb=200,300 ...] [--variants]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

import annidx
from annidx import answers
from annidx.descriptors import DEFAULT_DESCRIPTORS, descriptor
from annidx.index import Index
from annidx.options import Options
from annidx.search import confirm
from annidx.search.groups import RULES
from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import Vectors
from scripts.bench_edits import SUFFIXES, load_attacks
from tests import pages

SHARED = Path(os.environ.get("ANNIDX_SHARED", Path(__file__).parents[2] / "shared"))
SPLITS = ("choose", "held out")
SETS = ("all", "photos", "drawings", "page", "letter", "chat", "slide", "views", "formats")
METRICS = ("thumb=200,300,400", "signature=0.2,0.3,0.4")
WAYS: list[tuple[str, dict[str, float] | None]] = [
    ("none", None),
    ("default", {}),
    ("one cutoff", {"tight": confirm.LOOSE}),
    ("near 0", {"near": 0.0}),
    ("near .3", {"near": 0.3}),
    ("loose .35", {"loose": 0.35}),
    ("loose .45", {"loose": 0.45}),
    ("loose .5", {"loose": 0.5}),
    ("tight .15", {"tight": 0.15}),
    ("tight .25", {"tight": 0.25}),
]
"""Ways to confirm pairs: arguments of annidx.search.confirm.confirmed; None: all pairs count."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a picture: its set, what it was made from, what it shows, if it is first."""

    part: str
    family: str
    kin: str
    original: bool = False


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--originals", type=int, default=16, help="photos edited in each archive")
    parser.add_argument("--writing", type=int, default=40, help="pictures of each kind of writing")
    parser.add_argument("--metric", action="append", metavar="NAME=CUTOFF,CUTOFF")
    parser.add_argument("--variants", action="store_true", help="also other ways to confirm")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    asked = dict(each.split("=") for each in args.metric or METRICS)
    metrics = {name: [float(cutoff) for cutoff in text.split(",")] for name, text in asked.items()}
    ways = dict(WAYS if args.variants else WAYS[:2])
    rows = []
    for half, split in enumerate(SPLITS):
        with tempfile.TemporaryDirectory() as folder:
            known = make_archive(Path(folder) / "archive", half, args.originals, args.writing)
            place = Path(folder) / "index"
            options = Options(descriptors=sorted({*DEFAULT_DESCRIPTORS, *metrics}))
            annidx.build([Path(folder) / "archive"], index=place, options=options)
            for row in measured(annidx.open(place), known, metrics, ways):
                rows.append({"split": split, **row})
                if not args.json:
                    print_row(rows)
    if args.json:
        print(json.dumps(rows, indent=1))
    return 0


def make_archive(folder: Path, half: int, originals: int, writing: int) -> dict[str, Known]:
    """Write one of the two archives; return what is known of each file by its path."""
    known: dict[str, Known] = {}
    for path, what in (
        *photos(folder / "photos", half, originals),
        *made_writing(folder / "writing", half, writing),
        *views(folder / "views", half),
        *(formats(folder / "formats") if half else ()),
    ):
        known[str(path.resolve())] = what
    return known


def photos(folder: Path, half: int, originals: int) -> Iterator[tuple[Path, Known]]:
    """Write every second photo of Caltech-101, and the edits of some of them."""
    attacks = load_attacks().ATTACKS
    folder.mkdir(parents=True)
    every = sorted(p for p in (SHARED / "data/caltech").rglob("*") if p.suffix.lower() in SUFFIXES)
    chosen = every[half::2]
    edited = set(range(7 * half, len(chosen), len(chosen) // originals))
    for number, source in enumerate(chosen):
        family = f"photo-{number}"
        image = Image.open(source).convert("RGB")
        path = folder / f"{family}.jpg"
        image.save(path, quality=95)
        yield path, Known("photos", family, family, original=True)
        for at, (name, edit) in enumerate(attacks.items() if number in edited else ()):
            path = folder / f"{family}__{name}.jpg"
            edit(image, np.random.default_rng(number * 1000 + at)).save(path, quality=90)
            yield path, Known("photos", family, family)


def made_writing(folder: Path, half: int, count: int) -> Iterator[tuple[Path, Known]]:
    """Write pictures of writing, and some with next to no information."""
    folder.mkdir()
    for made in (*pages.set_of_writing(half * 5000, count), *pages.blanks(half * 5000, 6)):
        path = folder / f"{made.name}.jpg"
        made.image.save(path, quality=90)
        yield path, Known(made.name.partition("-")[0], made.family, made.family)


def views(folder: Path, half: int) -> Iterator[tuple[Path, Known]]:
    """Copy every second object of UKBench."""
    folder.mkdir()
    for name, group in truth(SHARED / "data/ukbench400"):
        if int(group) % 2 == half:
            path = Path(shutil.copy(SHARED / "data/ukbench400" / name, folder))
            yield path, Known("views", path.stem, f"object-{group}")


def formats(folder: Path) -> Iterator[tuple[Path, Known]]:
    """Copy imagededup's pictures."""
    source = SHARED / "data/imagededup"
    # The truth leaves out one more form of a picture.
    families = {"alpha_channel_image.png": "ukbench00120", **dict(truth(source))}
    shutil.copytree(source, folder)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            family = families.get(name, name)
            yield path, Known("formats", family, family)


def truth(folder: Path) -> list[tuple[str, str]]:
    """Return (file, group) of a ground truth."""
    with (folder / "ground_truth.csv").open(newline="", encoding="utf-8") as handle:
        return [(row["file"], row["group"]) for row in csv.DictReader(handle)]


def measured(
    index: Index,
    known: Mapping[str, Known],
    metrics: Mapping[str, Sequence[float]],
    ways: Mapping[str, Mapping[str, float] | None],
) -> Iterator[dict[str, Any]]:
    """Yield one row for every rule."""
    snapshot, engines = index.snapshot, index.engines
    paths = snapshot.paths(np.arange(len(snapshot.pictures)))
    thumbs, signatures = engines.vectors("thumb"), engines.vectors("signature")
    facts = told_apart([known[os.fsdecode(path)] for path in paths], thumbs)
    for metric, cutoffs in metrics.items():
        measure = descriptor(metric)
        for cutoff in cutoffs:
            found = engines.join(measure, cutoff, 10**8).pairs
            found, _ = answers.without_low_information(snapshot, found)
            for way, limits in ways.items():
                kept = found
                if limits is not None:
                    kept = confirm.confirmed(found, measure, thumbs, signatures, **limits)
                rule = {"metric": metric, "cutoff": cutoff, "confirm": way, "pairs": len(kept)}
                for linkage in RULES:
                    sets = judged(kept, linkage, facts)
                    yield {**rule, "linkage": linkage, "sets": sets}


def told_apart(facts: Sequence[Known], thumbs: Vectors) -> list[Known]:
    """Return what is known, with photos and drawings told apart by the originals."""
    plain = confirm.is_plain(thumbs.take(np.arange(len(facts))))
    drawn = {each.family for each, flag in zip(facts, plain, strict=True) if flag and each.original}
    return [
        replace(each, part="drawings") if each.family in drawn and each.part == "photos" else each
        for each in facts
    ]


def judged(found: RowPairs, linkage: Any, facts: Sequence[Known]) -> dict[str, dict[str, Any]]:
    """Return precision, recall and the largest impure group of each set."""
    groups = [[facts[row] for row in group.rows] for group in RULES[linkage](found)]
    return {
        name: score(
            [[each for each in group if name in ("all", each.part)] for group in groups],
            [each for each in facts if name in ("all", each.part)],
        )
        for name in SETS
        if name == "all" or any(each.part == name for each in facts)
    }


def score(groups: Sequence[Sequence[Known]], everything: Sequence[Known]) -> dict[str, Any]:
    """Count the pairs inside groups."""
    possible = pairs_of(Counter(each.family for each in everything).values())
    true = related = together = impure = 0
    for group in groups:
        families = pairs_of(Counter(each.family for each in group).values())
        kins = pairs_of(Counter(each.kin for each in group).values())
        inside = pairs_of([len(group)])
        true, related, together = true + families, related + kins - families, together + inside
        if kins < inside:
            impure = max(impure, len(group))
    judged = together - related
    return {
        "precision": true / judged if judged else None,
        "recall": true / possible if possible else None,
        "true": true,
        "false": judged - true,
        "related": related,
        "largest_impure": impure,
    }


def pairs_of(counts: Any) -> int:
    """Return how many pairs there are within sets of these sizes."""
    return sum(count * (count - 1) // 2 for count in counts)


def print_row(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the last row; before it a heading where an archive begins."""
    row = rows[-1]
    if len(rows) == 1 or rows[-2]["split"] != row["split"]:
        print(f"\n{row['split']}: precision, recall, largest impure group; related pairs of views")
        heads = "".join(f"{name:>20}" for name in SETS if name in row["sets"])
        print(f"{'metric':10}{'cutoff':>6} {'confirm':10} {'linkage':9}{heads}")
    line = f"{row['metric']:10}{row['cutoff']:6g} {row['confirm']:10} {row['linkage']:9}"
    for name, each in row["sets"].items():
        if name == "views":
            line += f"{each['false']:>13} {each['related']:6}"
            continue
        shares = ["    -" if s is None else f"{s:.4f}" for s in (each["precision"], each["recall"])]
        line += f"  {shares[0]:>6} {shares[1]:>6} {each['largest_impure']:4}"
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
