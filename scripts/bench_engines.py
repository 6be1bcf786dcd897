"""The graph engine against the exact engine on vectors: recall, CPU seconds, completeness.

Takes a folder with T.npy (n, 1200) uint8 thumbs and S.npy (n, 272) int8 signatures, as written by
../shared/bench/make_vectors.py, and compares all pairs under the cutoff that each engine finds.

    scripts/bench_engines.py VECTORS --count 20000 [--json]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from annidx.descriptors import SIGNATURE, THUMB, Descriptor
from annidx.images.signature import pack
from annidx.search import graph, query, selfjoin
from annidx.search.vectors import Stored, Vectors

T = TypeVar("T")


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    thumbs = np.load(args.vectors / "T.npy", mmap_mode="r")[: args.count]
    signatures = pack(np.load(args.vectors / "S.npy", mmap_mode="r")[: args.count])
    rows = [
        *compare(THUMB, thumbs, (100.0, 300.0, 600.0)),
        *compare(SIGNATURE, signatures, (0.3,)),
    ]
    if args.json:
        print(json.dumps({"machine": platform.machine(), "rows": rows}, indent=1))
        return 0
    print("metric      cutoff   pairs  recall  wrong  build s  graph s  exact s  fell through")
    for row in rows:
        print(
            f"{row['metric']:10} {row['cutoff']:7g} {row['pairs']:7} {row['recall']:7.5f} "
            f"{row['wrong']:6} {row['build_s']:8.2f} {row['graph_s']:8.2f} {row['exact_s']:8.2f} "
            f"{row['fell_through']:13}"
        )
    return 0


def compare(measure: Descriptor, stored: Stored, cutoffs: tuple[float, ...]) -> list[Any]:
    """Build one graph and compare all pairs at some cutoffs."""
    count = len(stored)
    vectors = Vectors(measure, [stored], np.ones(count, np.bool_))
    everyone = np.arange(count)
    (built, _), build_s = cpu(lambda: graph.build(vectors, everyone, threads=2))
    rows = []
    for cutoff in cutoffs:
        truth, exact_s = cpu(partial(selfjoin.pairs, vectors, cutoff))
        search = partial(query.graph_search, vectors, [query.Placed(built, 0)], None)
        answer, graph_s = cpu(partial(search, vectors.take(everyone), cutoff=cutoff, k=None))
        expected = set(zip(truth.one.tolist(), truth.other.tolist(), strict=True))
        found = {
            (min(row, other), max(row, other))
            for row, hits in enumerate(answer.hits)
            for other in hits.rows.tolist()
            if other != row
        }
        rows.append(
            {
                "metric": measure.name,
                "count": count,
                "cutoff": cutoff,
                "pairs": len(expected),
                "recall": len(found & expected) / max(1, len(expected)),
                "wrong": len(found - expected),
                "build_s": build_s,
                "graph_s": graph_s,
                "exact_s": exact_s,
                "fell_through": len(answer.fell_through),
            }
        )
    return rows


def cpu(work: Callable[[], T]) -> tuple[T, float]:
    """Run something; return its result and the CPU seconds of all threads."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
