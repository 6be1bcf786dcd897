"""Measure the constants of annidx/search/planner.py on this machine.

Takes a folder with T.npy (n, 1200) uint8 thumbs and S.npy (n, 272) int8 signatures, as written by
../shared/bench/make_vectors.py. Prints each constant as it is and as it was measured, in CPU
seconds; only their ratios matter. Takes some minutes.

    scripts/calibrate.py VECTORS [--count 100000] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from annidx.descriptors import SIGNATURE, THUMB, Descriptor
from annidx.images.signature import pack
from annidx.search import exact, graph, planner, selfjoin
from annidx.search.query import Placed, graph_search
from annidx.search.vectors import Rows, Vectors

BATCH = 200


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3, help="of each; the quickest counts")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    thumbs = np.load(args.vectors / "T.npy", mmap_mode="r")[: args.count]
    levels = np.load(args.vectors / "S.npy", mmap_mode="r")[: args.count]
    of = {THUMB: np.ascontiguousarray(thumbs), SIGNATURE: pack(np.ascontiguousarray(levels))}
    archives = {
        measure: Vectors(measure, [stored], np.ones(len(stored), np.bool_))
        for measure, stored in of.items()
    }
    measured = {**scans(archives, args.rounds), **joins(archives, args.rounds)}
    measured |= graphs(archives[THUMB], args.rounds)
    if args.json:
        print(json.dumps({"count": len(thumbs), "measured": measured}))
        return 0
    for name, value in measured.items():
        print(f"{name:28} {present(name):10.3g} -> {value:10.3g}")
    return 0


def present(name: str) -> float:
    """Return a constant of the planner, `NAME` or `NAME.distance`."""
    constant, _, distance = name.partition(".")
    value = getattr(planner, constant)
    return float(value[distance] if distance else value)


def scans(archives: dict[Descriptor, Vectors], rounds: int) -> dict[str, float]:
    """Measure scans of one query and of many: what each costs, and what the vectors cost once."""
    found: dict[str, float] = {}
    products = []
    for measure, vectors in archives.items():
        values = len(vectors) * measure.dimension
        many = np.arange(0, len(vectors), max(1, len(vectors) // BATCH))[:BATCH]
        few = many[: exact.FEW + 1]  # more than are compared bit by bit
        few_s, many_s = (cpu_s(partial(scan, vectors, rows), rounds) for rows in (few, many))
        product_s = max(0.0, (many_s - few_s) / (len(many) - len(few)))
        products.append(product_s / values)
        scan_s = max(0.0, few_s - len(few) * product_s)
        found[f"SCAN_VALUE_S.{measure.distance}"] = scan_s / values
        if measure is SIGNATURE:
            found["BITS_VALUE_S"] = cpu_s(partial(scan, vectors, many[:1]), rounds) / values
    return {"PRODUCT_VALUE_S": float(np.mean(products)), **found}


def scan(vectors: Vectors, rows: Rows) -> None:
    """Scan everything for the neighbours of some rows."""
    exact.search(vectors, vectors.take(rows), cutoff=vectors.descriptor.cutoff, k=10)


def joins(archives: dict[Descriptor, Vectors], rounds: int) -> dict[str, float]:
    """Measure joins of all vectors and of a quarter of them; solve for what a pair costs."""
    found: dict[str, float] = {}
    for measure, vectors in archives.items():
        n = len(vectors)
        quarter = vectors.only(np.arange(n) < n // 4)
        whole_s = cpu_s(partial(selfjoin.pairs, vectors, measure.cutoff), rounds)
        part_s = cpu_s(partial(selfjoin.pairs, quarter, measure.cutoff), rounds)
        whole_s = max(whole_s - n * planner.JOIN_PROJECT_S, 1e-6)
        part_s = max(part_s - n // 4 * planner.JOIN_PROJECT_S, 1e-6)
        spared = 2 - math.log(whole_s / part_s, 4)
        if planner.SPARED[measure.distance] == 0:
            spared = 0.0
        at_hundred_thousand = (n / 100_000) ** spared
        found[f"JOIN_PAIR_S.{measure.distance}"] = whole_s / (n * n / 2) * at_hundred_thousand
        found[f"SPARED.{measure.distance}"] = spared
    return found


def graphs(vectors: Vectors, rounds: int) -> dict[str, float]:
    """Measure queries of a graph over all vectors."""
    everyone = np.arange(len(vectors))
    built, _ = graph.build(vectors, everyone, threads=2)
    asked = vectors.take(everyone[:: max(1, len(everyone) // 1000)])
    cutoff = vectors.descriptor.cutoff
    query_s = cpu_s(
        lambda: graph_search(vectors, [Placed(built, 0)], None, asked, cutoff=cutoff, k=10), rounds
    )
    return {"GRAPH_QUERY_S": query_s / len(asked) / math.log(len(vectors), 100_000)}


def cpu_s(work: Callable[[], Any], rounds: int) -> float:
    """Return the CPU seconds of all threads, the least of some rounds."""
    took = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        took.append(time.process_time() - started)
    return min(took)


if __name__ == "__main__":
    sys.exit(main())
