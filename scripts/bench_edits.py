"""Recall and precision of the metrics on edited photos, through the command line.

Takes a folder of photos, writes the edits of ../shared/bench/attacks.py for the first N of them,
indexes edits and all photos together, and counts for each metric at its cutoff:

* recall: share of the (original, edit) pairs that are found, for each edit and on average;
* precision: share of the pairs found whose two files come from one photo.

    scripts/bench_edits.py ../shared/data/caltech --originals 40 [--json] [--metric thumb=300 ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SUFFIXES = {".jpg", ".jpeg", ".png"}  # what attacks.py takes as a photo


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--originals", type=int, default=40)
    parser.add_argument("--metric", action="append", metavar="NAME=CUTOFF")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    metrics = dict(each.split("=") for each in args.metric or ["thumb=300", "signature=0.3"])
    with tempfile.TemporaryDirectory() as folder:
        edits, index = Path(folder) / "edits", Path(folder) / "index"
        load_attacks().write_set(args.photos, edits, args.originals)
        for _ in annidx("build", str(args.photos), str(edits), "--index", str(index)):
            pass
        families = family_of(args.photos, edits, args.originals)
        results = {
            name: score(families, name, cutoff, index, args.originals)
            for name, cutoff in metrics.items()
        }
    if args.json:
        print(json.dumps(results, indent=1))
    else:
        print_table(results)
    return 0


def load_attacks() -> Any:
    """Import attacks.py from the shared folder."""
    shared = Path(os.environ.get("ANNIDX_SHARED", Path(__file__).parents[2] / "shared"))
    spec = importlib.util.spec_from_file_location("attacks", shared / "bench" / "attacks.py")
    if spec is None or spec.loader is None:
        sys.exit(f"{shared}: no bench/attacks.py there; set ANNIDX_SHARED")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def annidx(*words: str) -> Iterator[dict[str, Any]]:
    """Run the annidx of this environment; yield its JSON lines."""
    program = [sys.executable, "-m", "annidx", *words, "--json"]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        for line in process.stdout or ():
            yield json.loads(line)
    if process.returncode not in (0, 3):
        sys.exit(f"annidx {words[0]} ended with {process.returncode}")


def family_of(photos: Path, edits: Path, originals: int) -> dict[str, tuple[str, str]]:
    """Return (family, edit) of every file; a photo that was edited belongs to its family."""
    families = {}
    for path in edits.iterdir():
        family, edit = path.stem.split("__")
        families[str(path.resolve())] = family, edit
    known = sorted(path for path in photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    for number, path in enumerate(known):
        family = f"g{number:04d}" if number < originals else str(path)
        families[str(path.resolve())] = family, "photo"
    return families


def score(
    families: Mapping[str, tuple[str, str]], metric: str, cutoff: str, index: Path, originals: int
) -> dict[str, Any]:
    """Count what one metric finds."""
    true = pairs = 0
    found: Counter[str] = Counter()
    false: dict[str, int] = defaultdict(int)
    words = ("pairs", "--metric", metric, "--cutoff", cutoff, "--index", str(index))
    for line in annidx(*words):
        if line.get("message_type") == "summary":
            continue
        (family_a, edit_a), (family_b, edit_b) = families[line["a"]], families[line["b"]]
        pairs += 1
        true += family_a == family_b
        false[line["kind"]] += family_a != family_b
        if family_a == family_b and "orig" in (edit_a, edit_b):
            found[edit_b if edit_a == "orig" else edit_a] += 1
    edits = sorted({edit for _, edit in families.values()} - {"orig", "photo"})
    recall = {edit: found[edit] / originals for edit in edits}
    return {
        "cutoff": float(cutoff),
        "pairs": pairs,
        "false_pairs": pairs - true,
        "precision": true / pairs if pairs else None,
        "recall": sum(recall.values()) / len(recall),
        "recall_by_edit": recall,
    }


def print_table(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Print recall by edit and the totals, a column a metric."""
    names = list(results)
    print(f"{'edit':14}" + "".join(f"{name:>12}" for name in names))
    for edit in next(iter(results.values()))["recall_by_edit"]:
        row = [f"{results[name]['recall_by_edit'][edit]:12.2f}" for name in names]
        print(f"{edit:14}" + "".join(row))
    for key in ("cutoff", "recall", "precision", "pairs", "false_pairs"):
        print(f"{key:14}" + "".join(f"{results[name][key]:12.5g}" for name in names))


if __name__ == "__main__":
    sys.exit(main())
