"""What scripts/bench_search.py measures of annidx, each in a process of its own.

    python -m scripts.search_work NAME OPTIONS

The calls of annidx that are measured stand in one place each. Recall is measured after the clock
has stopped, against all pairs up to 100,000 rows, against exact scans of 500 rows beyond.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import annidx
from annidx.descriptors import descriptor
from annidx.images.signature import pack
from annidx.search import exact, graph, query, selfjoin
from annidx.search.recall import sampled
from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import Rows, Vectors
from scripts import vectors_index
from scripts.metering import memory_mb, metered

Row = dict[str, Any]
Keys = npt.NDArray[np.int64]

ALL_PAIRS_ROWS = 20_000
SAMPLED_ROWS = 1000
KEPT = {"thumb": 600.0}
"""Pairs up to this cutoff are found together: a scan costs the same whatever its cutoff is."""
TIMED_QUERIES = 2000


def stored_vectors(folder: str, metric: str, count: int) -> Vectors:
    """Return the first vectors of a folder as an archive has them."""
    measure = descriptor(metric)
    thumbs, levels = vectors_index.load(Path(folder), count)
    stored = thumbs if metric == "thumb" else pack(levels)
    return Vectors(measure, [stored], np.ones(len(stored), np.bool_))


def all_pairs(vectors: Vectors, cutoff: float) -> RowPairs:
    """Find all pairs as ``annidx pairs`` does."""
    return selfjoin.pairs(vectors, cutoff)


def build_graph(vectors: Vectors, threads: int) -> tuple[graph.Graph, float]:
    """Build a graph over all vectors as ``annidx build`` does."""
    return graph.build(vectors, np.arange(len(vectors)), threads=threads)


def ask_graph(vectors: Vectors, built: graph.Graph, rows: Rows, cutoff: float) -> query.GraphAnswer:
    """Ask a graph for all neighbours of some rows."""
    placed = [query.Placed(built, 0)]
    return query.graph_search(vectors, placed, None, vectors.take(rows), cutoff=cutoff, k=None)


# The truth


def keys(one: Rows, other: Rows) -> Keys:
    """Return a number for each pair of rows."""
    return np.asarray(np.minimum(one, other), np.int64) << 32 | np.maximum(one, other)


def truth(work: str, folder: str, metric: str, count: int, cutoff: float) -> tuple[Keys, Rows]:
    """Return the true pairs of some rows, and these rows: all, or an even sample of a large set.

    They are kept in the folder `work`, since finding them takes longest.
    """
    limit = max(cutoff, KEPT.get(metric, 0.0))
    name = f"truth-{Path(folder).resolve().name}-{metric}-{count}-{limit:g}.npz"
    path = Path(work) / name
    if not path.exists():
        found, asked = _scanned(stored_vectors(folder, metric, count), limit)
        np.savez(path, one=found.one, other=found.other, apart=found.distances, asked=asked)
    with np.load(path) as kept:
        near = kept["apart"] <= cutoff
        return np.unique(keys(kept["one"][near], kept["other"][near])), kept["asked"]


def _scanned(vectors: Vectors, cutoff: float) -> tuple[RowPairs, Rows]:
    """Return the pairs of all rows, or of an even sample of them, and these rows."""
    everyone = np.arange(len(vectors))
    if len(vectors) <= ALL_PAIRS_ROWS:
        return selfjoin.exhaustive_pairs(vectors, cutoff), everyone
    asked = sampled(everyone, SAMPLED_ROWS)
    hits = exact.search(vectors, vectors.take(asked), cutoff=cutoff, k=None)
    one = np.repeat(asked, [len(each.rows) for each in hits])
    other = np.concatenate([each.rows for each in hits])
    apart = np.concatenate([each.distances for each in hits])
    real = one != other
    return RowPairs(one[real], other[real], apart[real]), asked


def keys_of_hits(asked: Rows, hits: Sequence[exact.Hits]) -> Keys:
    """Return the pairs of some rows and their hits, themselves left out."""
    parts = [
        keys(np.full(len(each.rows), row), each.rows)[each.rows != row]
        for row, each in zip(asked, hits, strict=True)
    ]
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


def compared(found: Keys, options: Row, metric: str, count: int, cutoff: float) -> Row:
    """Return the recall of some pairs, and how many of them are wrong."""
    true, asked = truth(options["work"], options["vectors"], metric, count, cutoff)
    if len(asked) < count:
        ends = np.isin(found >> 32, asked) | np.isin(found & 0xFFFFFFFF, asked)
        found = found[ends]
    right = int(np.isin(true, found).sum())
    return {
        "recall": right / len(true) if len(true) else None,
        "true_pairs": len(true),
        "wrong": len(np.unique(found)) - right,
        "truth": "all pairs" if len(asked) == count else f"{len(asked)} rows scanned",
    }


# What is measured


def literal(options: Row) -> Row:
    """The loop that annidx replaces: numpy's norm of every pair of thumbs, one by one."""
    count, of = options["count"], options["of"]
    thumbs = vectors_index.load(Path(options["vectors"]), count)[0].astype(np.int16)

    def loop() -> int:
        near = 0
        for one, other in combinations(range(count), 2):
            near += bool(np.linalg.norm(thumbs[one] - thumbs[other]) <= options["cutoff"])
        return near

    near, cost = metered(loop)
    scale = of * (of - 1) / (count * (count - 1))
    measured = {**cost.fields, "near": near, "measured_cpu_s": cost.cpu_s}
    return {**measured, "cpu_s": cost.cpu_s * scale, "wall_s": cost.wall_s * scale}


def pairs(options: Row) -> Row:
    """Find all pairs; with `graph` build the graph as well."""
    count, cutoff, metric = options["count"], options["cutoff"], options["metric"]
    vectors = stored_vectors(options["vectors"], metric, count)

    def work() -> RowPairs:
        if options.get("graph"):
            build_graph(vectors, options["threads"])
        return all_pairs(vectors, cutoff)

    found, cost = metered(work)
    row = {**cost.fields, "pairs": len(found)}
    return {**row, **compared(keys(found.one, found.other), options, metric, count, cutoff)}


def build(options: Row) -> Row:
    """Build a graph, and see what it finds alone, without the exact engine's help."""
    count, cutoff, metric = options["count"], options["cutoff"], "thumb"
    vectors = stored_vectors(options["vectors"], metric, count)
    before = memory_mb("RssAnon")
    (built, share), cost = metered(lambda: build_graph(vectors, options["threads"]))
    true, asked = truth(options["work"], options["vectors"], metric, count, cutoff)
    rows = np.unique(np.concatenate([true >> 32, true & 0xFFFFFFFF])).astype(np.intp)
    rows = rows if len(asked) == count else asked
    answer, asking = metered(lambda: ask_graph(vectors, built, rows, cutoff))
    alone = [at for at in range(len(rows)) if at not in answer.fell_through]
    found = keys_of_hits(rows[alone], [answer.hits[at] for at in alone])
    right = int(np.isin(true, found).sum())
    return {
        **cost.fields,
        "grown_mb": round(cost.anon_mb - before, 1),
        "found_itself": share,
        "fell_through": len(answer.fell_through),
        "asked": len(rows),
        "cpu_ms": round(1000 * asking.cpu_s / max(1, len(rows)), 3),
        "pairs": len(true),
        "recall": right / len(true) if len(true) else None,
    }


def write_index(options: Row) -> Row:
    """Write an index of so many vectors; one that is there stays."""
    index = Path(options["work"]) / f"index-{options['count']}"
    if index.exists():
        return {"skipped": True}
    staged = index.with_suffix(".new")
    shutil.rmtree(staged, ignore_errors=True)
    thumbs, levels = vectors_index.load(Path(options["vectors"]), options["count"])
    made, cost = metered(
        lambda: vectors_index.make(staged, thumbs, levels, threads=options["threads"])
    )
    staged.rename(index)
    return {**cost.fields, "recall": made.graphs[0].recall if made.graphs else None}


def one_query(options: Row) -> Row:
    """Ask an open index for the neighbours of one vector, many times."""
    count = options["count"]
    before = memory_mb("RssAnon")
    index = annidx.open(Path(options["work"]) / f"index-{count}")
    rows = sampled(np.arange(count), TIMED_QUERIES)
    thumbs = vectors_index.load(Path(options["vectors"]), count)[0][rows]
    for at in range(20):
        index.query_vectors(thumbs[at : at + 1])
    opened = memory_mb("RssAnon") - before
    wall_s, engines = [], set()

    def ask() -> None:
        for at in range(len(thumbs)):
            began = time.perf_counter()
            answer = index.query_vectors(thumbs[at : at + 1])
            wall_s.append(time.perf_counter() - began)
            engines.add(answer[0].answer.engine)

    _, cost = metered(ask)
    true = got = 0
    some = thumbs[:: max(1, len(thumbs) // 200)]
    answers = (index.query_vectors(some, k=None, exact=exactly) for exactly in (True, False))
    for scanned, quick in zip(*answers, strict=True):
        wanted, found = ({match.path for match in each} for each in (scanned, quick))
        true, got = true + len(wanted), got + len(wanted & found)
    return {
        **cost.fields,
        "cpu_ms": round(1000 * cost.cpu_s / len(thumbs), 3),
        "p50_ms": round(1000 * float(np.percentile(wall_s, 50)), 3),
        "p99_ms": round(1000 * float(np.percentile(wall_s, 99)), 3),
        "opened_mb": round(opened, 1),
        "queries": len(thumbs),
        "pairs": true,
        "recall": got / true if true else None,
        "note": "engine: " + ", ".join(sorted(engines)),
    }


MEASURED = {each.__name__: each for each in (literal, pairs, build, write_index, one_query)}


def main(arguments: Sequence[str]) -> int:
    """Measure one thing and print its row."""
    name, options = arguments[0], json.loads(arguments[1])
    print(json.dumps(MEASURED[name](options)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
