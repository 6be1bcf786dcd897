"""The search engines on vectors: what they cost, what they find, and what their rivals do.

Takes a folder with T.npy (n, 1200) uint8 thumbs and S.npy (n, 272) int8 signatures, as written by
../shared/bench/make_vectors.py. Sizes beyond n are left out. The parts:

    literal    the loop of numpy norms over all pairs against annidx, ratios in one run
    whole      all pairs of 20,000 to a million thumbs, the exponent of their cost
    graph      building a graph; what it finds without the exact engine
    query      one query in a process that has opened the index: p50, p99, memory
    cold       one query from a cold start of the command
    signature  all pairs by signature
    rivals     faiss and hnswlib on the same vectors (scripts/bench installs them)

    python -m scripts.bench_search VECTORS --work DIR [--only PART,...] [--most 100000] [--json F]

Each row is measured in a process of its own: CPU seconds of all its threads, wall seconds, peak
memory (rss: with mapped files, anon: without). The true pairs and the indexes that are written for
`query` and `cold` stay in --work for the next call.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from scripts.bench_tables import Row, exponent, machine, plot, table
from scripts.metering import in_child, in_command
from scripts.search_rivals import RIVALS
from scripts.search_rivals import TARGET as RECALL

SIZES = (20_000, 50_000, 100_000, 300_000, 1_000_000)
LOOP, LOOP_OF = 2_000, 20_000
LIMITS = {
    ("whole", 100_000, 300.0): 2.5,
    ("whole", 100_000, 600.0): 5.0,
    ("whole", 300_000, 300.0): 15.0,
    ("graph", 100_000, 300.0): 100.0,
    ("signature", 100_000, 0.3): 40.0,
}
"""Most CPU seconds."""
QUERY_LIMITS = {100_000: (0.6, 2.0), 1_000_000: (1.2, 4.0)}
"""Most milliseconds of one query, p50 and p99."""
COLD_LIMIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured of what.

    Attributes
    ----------
    vectors, work : Path
    count : int
        Vectors that there are, or --most.
    loop : int
        Thumbs of the literal loop.
    repeat : int
        Rounds of what is compared by ratio; medians are told.
    threads : int
        That build graphs.
    """

    vectors: Path
    work: Path
    count: int
    loop: int
    repeat: int
    threads: int

    def row(self, name: str, count: int, *, module: str = "search_work", **more: Any) -> Row:
        """Measure one thing of so many vectors."""
        options = {"vectors": str(self.vectors), "work": str(self.work), "threads": self.threads}
        return {"n": count, **more, **in_child(module, name, count=count, **options, **more)}

    def sizes(self, *wanted: int) -> list[int]:
        """Return the sizes that there are vectors for; all of them when none is small enough."""
        return [size for size in wanted if size <= self.count] or [self.count]


def literal(bench: Bench) -> Iterator[Row]:
    """Alternate between the loop and annidx, with the graph and without."""
    of = min(LOOP_OF, bench.count)
    common: dict[str, Any] = {"cutoff": 300.0, "metric": "thumb"}
    rounds: dict[str, list[Row]] = {"loop": [], "pairs": [], "pairs and graph": []}
    for _ in range(bench.repeat):
        loop = bench.row("literal", min(bench.loop, of), of=of, cutoff=300.0)
        rounds["loop"].append({**loop, "n": of, "note": f"measured on {loop['n']:,}, scaled"})
        rounds["pairs"].append(bench.row("pairs", of, **common))
        rounds["pairs and graph"].append(bench.row("pairs", of, **common, graph=True))
    base = median(row["cpu_s"] for row in rounds["loop"])
    for work, rows in rounds.items():
        cpu_s, wall_s = (median(row[name] for row in rows) for name in ("cpu_s", "wall_s"))
        limit = {"pairs": 1000, "pairs and graph": 50}.get(work)
        yield {
            **rows[0],
            "work": work,
            "cpu_s": cpu_s,
            "wall_s": wall_s,
            "ratio": base / cpu_s,
            "must": f">= {limit}x" if limit else None,
            "rounds": len(rows),
        }


def whole(bench: Bench) -> Iterator[Row]:
    """All pairs at 300 of each size, at 600 of one."""
    for size in bench.sizes(*SIZES):
        for cutoff in (300.0, 600.0) if size == bench.sizes(100_000)[0] else (300.0,):
            row = bench.row("pairs", size, cutoff=cutoff, metric="thumb")
            yield {"work": "all pairs", **limited("whole", row)}


def graph(bench: Bench) -> Iterator[Row]:
    """Build one graph."""
    for size in bench.sizes(100_000):
        row = bench.row("build", size, cutoff=300.0)
        yield {"work": "build, recall by graph alone", **limited("graph", row)}


def one_query(bench: Bench) -> Iterator[Row]:
    """Ask an open index, which is written first if it is not there."""
    for size in bench.sizes(100_000, 1_000_000):
        built = bench.row("write_index", size)
        if not built.get("skipped"):
            yield {"work": "write the index, graph included", **built}
        p50, p99 = QUERY_LIMITS.get(size, (None, None))
        must = f"<= {p50:g} / {p99:g} ms" if p50 else None
        yield {"work": "one query in process", **bench.row("one_query", size), "must": must}


def cold(bench: Bench) -> Iterator[Row]:
    """Ask by the command, each time in a new process; the first one hashes the index."""
    (size,) = bench.sizes(100_000)[-1:]
    bench.row("write_index", size)
    index, cache = bench.work / f"index-{size}", bench.work / f"cache-{time.time_ns()}"
    picture = next(Path(__file__).parents[1].glob("data/pictures/*/*.jpg"))
    command = [sys.executable, "-m", "annidx", "query", str(picture), "--index", str(index)]
    costs = []
    for _ in range(6):
        ran = in_command(command, variables={"XDG_CACHE_HOME": str(cache)})
        if ran.code != 0:
            message = f"{command} ended with {ran.code}: {ran.errors}"
            raise RuntimeError(message)
        costs.append(ran.cost)
    yield {"work": "first query, files are hashed", "n": size, **costs[0]}
    later = {name: median(cost[name] for cost in costs[1:]) for name in costs[0]}
    must = f"<= {COLD_LIMIT_S:g} s CPU"
    yield {"work": "query of a file, cold start", "n": size, **later, "must": must, "rounds": 5}


def signature(bench: Bench) -> Iterator[Row]:
    """All pairs by signature."""
    for size in bench.sizes(100_000):
        row = bench.row("pairs", size, cutoff=0.3, metric="signature")
        yield {"work": "all pairs by signature", **limited("signature", row)}


def rivals(bench: Bench) -> Iterator[Row]:
    """Every rival on projected vectors, and on raw ones of a smaller set for the record."""
    missing = [name for name in ("faiss", "hnswlib") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"{' and '.join(missing)} not installed: use scripts/bench", file=sys.stderr)
    for dimension, size in ((64, bench.sizes(100_000)[0]), (0, bench.sizes(20_000)[0])):
        rows = []
        for name in RIVALS:
            if name.split()[0] not in missing:
                more = {"rival": name, "dimension": dimension, "cutoff": 300.0}
                row = bench.row("rival", size, module="search_rivals", **more)
                rows.append({"work": f"{name}, {dimension or 'raw 1200'}-d", **row})
        yield from beside_the_best(rows)


def beside_the_best(rows: Sequence[Row]) -> list[Row]:
    """Return rows of rivals with the CPU of a query against that of the best other HNSW graph.

    Only graphs that reach the recall count as the best; without one there is no ratio.
    """
    others = [
        row["cpu_us"] for row in rows if "HNSW" in row["rival"].upper() and row["recall"] >= RECALL
    ]
    best = min(others, default=None)
    return [
        {**row, "of_best": best and row["cpu_us"] / best, "must": _rival_limit(row["rival"], best)}
        for row in rows
    ]


def _rival_limit(name: str, best: float | None) -> str | None:
    return "<= 1.5 of best HNSW" if best and name.startswith("annidx") else None


def limited(part: str, row: Row) -> Row:
    """Return a row with the limit that it has to keep to, if there is one."""
    limit = LIMITS.get((part, row["n"], row["cutoff"]))
    return {**row, "must": f"<= {limit:g} s" if limit else None}


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "literal": literal,
    "whole": whole,
    "graph": graph,
    "query": one_query,
    "cold": cold,
    "signature": signature,
    "rivals": rivals,
}


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    about = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        prog="bench_search.py",
        description=about[0],
        epilog="\n\n".join(about[1:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="a folder for what is kept")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="take no more vectors")
    parser.add_argument("--loop", type=int, default=LOOP, help="thumbs of the literal loop")
    parser.add_argument("--repeat", type=int, default=5, help="rounds of the literal loop")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--plot", type=Path, help="draw PLOT.png and PLOT.svg of the part whole")
    parser.add_argument("--json", type=Path, help="write machine and rows to this file")
    args = parser.parse_args(words)
    args.parts = args.only.split(",")
    for name in args.parts:
        if name not in PARTS:
            parser.error(f"--only: {name}: expected some of {', '.join(PARTS)}")
    if not (args.vectors / "T.npy").exists():
        parser.error(f"{args.vectors} holds no T.npy: make it with bench/make_vectors.py")
    return args


def main(words: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for."""
    args = arguments_of(words)
    count = min(args.most, len(np.load(args.vectors / "T.npy", mmap_mode="r")))
    args.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(args.vectors, args.work, count, args.loop, args.repeat, args.threads)
    about = machine()
    rows: list[Row] = []
    print(json.dumps(about))
    for name in args.parts:
        found = []
        for row in PARTS[name](bench):
            found.append({"part": name, **row})
            print(f"  {row['work']}, {row['n']:,}: {row['cpu_s']:.3g} CPU s", file=sys.stderr)
            if args.json:  # after each row: a run may take hours
                args.json.write_text(json.dumps({"machine": about, "rows": rows + found}, indent=1))
        rows += found
        print(f"\n## {name}\n\n{table(found)}", flush=True)
        fitted = exponent(found) if name == "whole" else None
        if fitted is not None:
            print(f"\nCPU seconds at 300 grow as n^{fitted:.2f} (must: <= 1.6)")
        if name == "whole" and args.plot:
            plot(found, args.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
