"""``annidx demo``: the whole of it on the pictures that come with annidx."""

from __future__ import annotations

import argparse
import copy
import csv
import tempfile
from collections import Counter
from pathlib import Path

import annidx
from annidx.commands import build, groups, pairs, query
from annidx.errors import FolderNotFound, UsageError

METRICS = ("thumb", "signature", "fingerprint")

HELP = "try it on the pictures shipped with annidx, in a throw-away index"
DESCRIPTION = """\
Build an index over the pictures in data/, print the near-duplicates found in it, ask it for the
neighbours of one file, and say which of the known edits were found. Nothing is kept."""
EPILOG = """\
examples:
  annidx demo
  annidx demo --json | tail -1"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb: there are none."""


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if args.index is not None:
        message = "demo makes an index of its own, which is not kept: leave out --index"
        raise UsageError(message)
    data = data_folder()
    with tempfile.TemporaryDirectory(prefix="annidx-demo-") as folder:
        index = str(Path(folder) / "index")
        _step(args, f"annidx build {data / 'pictures'}")
        build.run(_arguments(args, build, index, [str(data / "pictures")]))
        _step(args, "annidx pairs")
        pairs.run(_arguments(args, pairs, index, []))
        _step(args, "annidx groups")
        groups.run(_arguments(args, groups, index, []))
        asked = _an_edit(data)
        _step(args, f"annidx query {asked}")
        query.run(_arguments(args, query, index, [str(asked)]))
        if not args.json and not args.quiet:
            _compare(index, data)
    return 0


def data_folder() -> Path:
    """Return the folder data/ of the clone that annidx runs from."""
    folder = Path(annidx.__file__).parent.parent / "data"
    if not (folder / "pictures").is_dir():
        message = f"{folder}: the demo's pictures are not here: run it from a clone of annidx"
        raise FolderNotFound(message)
    return folder


def truth(data: Path) -> list[dict[str, str]]:
    """Return the rows of the ground truth: file, original, edit."""
    with (data / "ground_truth.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def _arguments(
    args: argparse.Namespace, verb: object, index: str, words: list[str]
) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)  # type: ignore[attr-defined]
    parsed = parser.parse_args(words)
    merged = copy.copy(args)
    for name, value in vars(parsed).items():
        setattr(merged, name, value)
    merged.index = index
    return merged


def _step(args: argparse.Namespace, command: str) -> None:
    if not args.json and not args.quiet:
        print(f"\n$ {command}", flush=True)


def _an_edit(data: Path) -> Path:
    recompressed = [row["file"] for row in truth(data) if row["edit"] == "recompressed"]
    return data / "pictures" / recompressed[0]


def _compare(index: str, data: Path) -> None:
    """Say which of the known edits stand in a pair with their original, by metric."""
    opened = annidx.open(index)
    base = str(data.resolve() / "pictures") + "/"
    known = [row for row in truth(data) if row["file"] != row["original"] and row["original"]]
    known = [row for row in known if row["edit"] not in ("broken", "not-a-picture")]
    total = Counter(row["edit"] for row in known)
    found: dict[str, Counter[str]] = {}
    for metric in METRICS:
        names = {
            frozenset((pair.a.removeprefix(base), pair.b.removeprefix(base)))
            for pair in opened.find_pairs(metric=metric)
        }
        hits = [row for row in known if frozenset((row["file"], row["original"])) in names]
        found[metric] = Counter(row["edit"] for row in hits)
    print("\nknown edits found, by metric at its default cutoff:")
    print(f"  {'edit':14} {'of':>3}  " + "  ".join(METRICS))
    for edit, count in sorted(total.items()):
        columns = "  ".join(f"{found[each][edit]:{len(each)}}" for each in METRICS)
        print(f"  {edit:14} {count:3}  {columns}")
