"""Who finds which edits, at what price in false pairs: pHash, dHash, PDQ and all that annidx has.

Takes folders of pictures with a truth.csv each (columns file, group, role); together they are one
archive, and every pair of it counts. Two files of one group are a true pair, any other two a false
one (a group called "a+b" is related to a and b, which is neither). Where a group has a file of the
role "orig", the other roles are names of edits; elsewhere roles name a class. Measured are

* descriptors: all pairs; the largest cutoff at which one pair in 10,000 is false at most, and the
  recall of original and edit there and at the usual cutoffs; recall against false-positive rate;
* annidx as a whole at default settings, "build" and "pairs --metric NAME" in a throw-away index:
  the same, the kind of each sort of pair, each false pair, time and memory; whether "chance" is
  what it says, where there is --fpr. A metric that this annidx does not have is left out.

examples:
  python -m scripts.bench_accuracy SETS/attacks SETS/others --json f.json --plot docs/accuracy
  python -m scripts.bench_accuracy SETS/attacks SETS/others --tools fingerprint --descriptors ''
  python -m scripts.bench_accuracy SETS/bursts --descriptors '' --tools fingerprint
  python -m scripts.bench_accuracy SETS/attacks SETS/others --query

Writes Markdown tables; --plot needs matplotlib, which scripts/bench installs. The index lies in
$TMPDIR. Where no edits are known, recall is that of all true pairs."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts import accuracy_tools as tools
from scripts.accuracy_counts import RATES, suspects, tally
from scripts.accuracy_peers import NAMES, Vectors, describe_all, distance_of, usual
from scripts.accuracy_tables import plot, tables
from scripts.accuracy_truth import Truth, read
from scripts.bench_tables import machine

Row = dict[str, Any]

DESCRIPTORS = "phash,dhash,pdq,thumb,signature"
TOOLS = "thumb,signature,fingerprint"


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    args = arguments_of(words)
    truth: Truth = args.truth
    results: Row = {
        "machine": machine(),
        "sets": dict(Counter(each.set for each in truth.pictures)),
        "true": truth.true,
        "false": truth.false,
        "edits": list(truth.edits),
        "rates": RATES.tolist(),
        "descriptors": {},
        "suspects": [],
        "tools": {},
    }
    if args.descriptors:
        paths = [each.path for each in truth.pictures]
        vectors = describe_all(paths, args.descriptors, os.cpu_count() or 1)
        for name in args.descriptors:
            results["descriptors"][name] = measured(name, vectors[name], truth)
        results["suspects"] = doubted(vectors, truth)
    if args.tools:
        with tempfile.TemporaryDirectory() as folder:
            results |= whole(Path(folder), args, truth)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    print("\n\n".join(tables(results)), flush=True)
    if args.plot:
        plot(results, args.plot)
    return 0


def measured(name: str, vectors: Vectors, truth: Truth) -> Row:
    """Return what a descriptor finds in all pairs."""
    counted = tally(vectors, distance_of(name), truth, usual(name))
    cutoff = counted.precise()
    return {
        "precise": None if cutoff is None else counted.at(cutoff),
        "usual": [counted.at(each) for each in usual(name)],
        "recall_by_edit": counted.recall(-1.0 if cutoff is None else cutoff),
        "nearest_false": float(counted.values[0]) if len(counted.values) else None,
        "curve": counted.curve(),
    }


def doubted(vectors: Mapping[str, Vectors], truth: Truth) -> list[Row]:
    """Return the false pairs of unedited pictures on which two descriptors agree, or more."""
    votes: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, each in vectors.items():
        for pair in suspects(each, distance_of(name), truth, min(usual(name))):
            votes[pair].append(name)
    agreed = sorted(votes.items(), key=lambda item: (-len(item[1]), item[0]))
    paths = truth.pictures
    return [
        {"a": str(paths[one].path), "b": str(paths[other].path), "descriptors": names}
        for (one, other), names in agreed
        if len(names) > 1
    ]


def whole(place: Path, args: argparse.Namespace, truth: Truth) -> Row:
    """Build an index and ask it by each metric; return the parts of the results that come of it."""
    index = place / "index"
    results: Row = {"build": tools.build(args.folders, index), "tools": {}}
    for metric in args.tools:
        answer = tools.pairs(index, metric, truth)
        if answer is None:
            continue
        found, cost = answer
        results["tools"][metric] = {
            **tools.judged(found, truth),
            "cost": cost,
            "chances": tools.chances(index, metric, truth),
            "queries": tools.queries(place, metric, truth) if args.query and truth.edits else [],
        }
    return results


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line and read what is known of the pictures."""
    about = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog="bench_accuracy.py",
        description=about[0],
        epilog=about[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument(
        "--descriptors", default=DESCRIPTORS, metavar="NAMES", help=f"default {DESCRIPTORS}"
    )
    parser.add_argument("--tools", default=TOOLS, metavar="NAMES", help=f"metrics, default {TOOLS}")
    parser.add_argument("--query", action="store_true", help="also query, both ways")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to it")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw FILE.png and FILE.svg")
    args = parser.parse_args(words)
    args.descriptors, args.tools = (
        [name for name in text.split(",") if name] for text in (args.descriptors, args.tools)
    )
    for name in args.descriptors:
        if name not in NAMES:
            parser.error(f"--descriptors: {name}: expected some of {', '.join(NAMES)}")
    try:
        args.truth = read(args.folders)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return args


if __name__ == "__main__":
    sys.exit(main())
