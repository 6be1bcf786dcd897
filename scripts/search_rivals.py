"""faiss-cpu and hnswlib beside annidx's graph, on the same points, each in a process of its own.

    python -m scripts.search_rivals NAME OPTIONS

All get the same unique vectors (copies wreck graphs) in the same shuffled order, projected by
annidx's own projection to 64 dimensions or as they are. A query asks for all that lies within the
reach of the cutoff: by range search where there is one, else by k = 32, 128, 512 until the last one
lies beyond. How widely each searches is raised until .999 of the true pairs are among what it
proposes; that setting is timed. None of them re-ranks here, so the times are those of the search
alone. Building may use several threads, a query has one.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx.search import graph, projection, query
from annidx.search.vectors import Points, Rows, Vectors, reach
from scripts.metering import memory_mb, metered
from scripts.search_work import Row, stored_vectors, truth

Near = Callable[[Points], Rows]
Tune = Callable[[int], None]

TARGET = 0.999
WIDTHS = (16, 32, 64, 100, 200, 400, 800)
PROBES = (1, 2, 4, 8, 16, 32, 64, 128)
M, EF_CONSTRUCTION = 16, 200
ASKED = 2000
TIMED = 1000


class Rival:
    """An index of points, made by :meth:`build` and asked by :meth:`near`.

    Parameters
    ----------
    points : (n, d) float32
    squared_reach : float
        Of the cutoff, in the space of the points.
    threads : int
        That build it.
    """

    parameters = f"M={M} efConstruction={EF_CONSTRUCTION}"
    widths: Sequence[int] = WIDTHS

    def __init__(self, points: Points, squared_reach: float, threads: int) -> None:
        self.points, self.limit, self.threads = points, squared_reach, threads

    def build(self) -> None:
        """Make the index."""
        raise NotImplementedError

    def widen(self, width: int) -> None:
        """Set efSearch or nprobe."""
        raise NotImplementedError

    def nearest(self, point: Points, count: int) -> tuple[Rows, npt.NDArray[np.float32]]:
        """Return up to `count` neighbours of a point (d,) and their squared distances."""
        raise NotImplementedError

    def near(self, point: Points) -> Rows:
        """Return what lies within the reach of a point, or as much of it as it finds."""
        rows = np.zeros(0, np.intp)
        for count in query.FETCHES:
            rows, squared = self.nearest(point, count)
            if len(squared) < count or squared[-1] > self.limit:
                break
        return rows


class Nmslib(Rival):
    """What annidx builds, by the function with which it does."""

    parameters = f"M={M} efConstruction={EF_CONSTRUCTION} post=2"

    def build(self) -> None:
        """See :meth:`Rival.build`."""
        self.handle = graph._built(self.points, EF_CONSTRUCTION, self.threads)

    def widen(self, width: int) -> None:
        """See :meth:`Rival.widen`."""
        self.handle.setQueryTimeParams({"efSearch": width})

    def nearest(self, point: Points, count: int) -> tuple[Rows, npt.NDArray[np.float32]]:
        """See :meth:`Rival.nearest`."""
        rows, squared = self.handle.knnQuery(point, k=count)
        return rows, squared


class Hnswlib(Rival):
    """hnswlib, compiled for this machine."""

    def build(self) -> None:
        """See :meth:`Rival.build`."""
        import hnswlib  # noqa: PLC0415 - only scripts/bench installs it

        self.index = hnswlib.Index(space="l2", dim=self.points.shape[1])
        self.index.init_index(len(self.points), ef_construction=EF_CONSTRUCTION, M=M)
        self.index.add_items(self.points, num_threads=self.threads)
        self.index.set_num_threads(1)

    def widen(self, width: int) -> None:
        """See :meth:`Rival.widen`."""
        self.width = width

    def nearest(self, point: Points, count: int) -> tuple[Rows, npt.NDArray[np.float32]]:
        """See :meth:`Rival.nearest`."""
        self.index.set_ef(max(self.width, count))
        rows, squared = self.index.knn_query(point, k=min(count, len(self.points)))
        return rows[0].astype(np.intp), squared[0]


class FaissGraph(Rival):
    """faiss HNSWFlat with k that grows."""

    ranged = False

    def build(self) -> None:
        """See :meth:`Rival.build`."""
        import faiss  # noqa: PLC0415 - only scripts/bench installs it

        faiss.omp_set_num_threads(self.threads)
        self.index = faiss.IndexHNSWFlat(self.points.shape[1], M)
        self.index.hnsw.efConstruction = EF_CONSTRUCTION
        self.index.add(self.points)
        faiss.omp_set_num_threads(1)

    def widen(self, width: int) -> None:
        """See :meth:`Rival.widen`."""
        self.index.hnsw.efSearch = self.width = width

    def nearest(self, point: Points, count: int) -> tuple[Rows, npt.NDArray[np.float32]]:
        """See :meth:`Rival.nearest`."""
        self.index.hnsw.efSearch = max(self.width, count)
        squared, rows = self.index.search(point[None], count)
        there = rows[0] >= 0
        return rows[0][there], squared[0][there]


class FaissGraphRange(FaissGraph):
    """faiss HNSWFlat with its own range search."""

    def near(self, point: Points) -> Rows:
        """See :meth:`Rival.near`."""
        _, _, rows = self.index.range_search(point[None], self.limit)
        return np.asarray(rows, np.intp)


class FaissLists(Rival):
    """faiss IVFFlat with its range search: exact within the lists that it looks through."""

    widths = PROBES

    def build(self) -> None:
        """See :meth:`Rival.build`."""
        import faiss  # noqa: PLC0415 - only scripts/bench installs it

        faiss.omp_set_num_threads(self.threads)
        lists = max(16, 4 * round(len(self.points) ** 0.5))
        self.parameters = f"nlist={lists}"
        dimension = self.points.shape[1]
        self.quantizer = faiss.IndexFlatL2(dimension)
        self.index = faiss.IndexIVFFlat(self.quantizer, dimension, lists)
        self.index.train(self.points)
        self.index.add(self.points)
        faiss.omp_set_num_threads(1)

    def widen(self, width: int) -> None:
        """See :meth:`Rival.widen`."""
        self.index.nprobe = width

    def near(self, point: Points) -> Rows:
        """See :meth:`Rival.near`."""
        _, _, rows = self.index.range_search(point[None], self.limit)
        return np.asarray(rows, np.intp)


RIVALS: dict[str, type[Rival]] = {
    "annidx (nmslib)": Nmslib,
    "hnswlib": Hnswlib,
    "faiss HNSWFlat, k grows": FaissGraph,
    "faiss HNSWFlat, range": FaissGraphRange,
    "faiss IVFFlat, range": FaissLists,
}


def points_of(vectors: Vectors, rows: Rows, dimension: int) -> Points:
    """Return the points of some rows: projected as annidx does, or with 0 as they are."""
    if not dimension:
        return vectors.points(rows)
    fitted = projection.fit(vectors, rows, dimension)
    return projection.project(vectors, rows, fitted)


def true_neighbours(options: Row, unique: Rows) -> dict[int, list[int]]:
    """Return the true neighbours among the unique vectors by their places there."""
    pairs, _ = truth(
        options["work"], options["vectors"], "thumb", options["count"], options["cutoff"]
    )
    place = np.full(options["count"], -1)
    place[unique] = np.arange(len(unique))
    found: dict[int, list[int]] = {}
    for one, other in zip(place[pairs >> 32], place[pairs & 0xFFFFFFFF], strict=True):
        if min(one, other) >= 0:
            found.setdefault(int(one), []).append(int(other))
            found.setdefault(int(other), []).append(int(one))
    return found


def recall_of(rival: Rival, wanted: dict[int, list[int]], points: Points) -> float:
    """Return the share of the true neighbours of some places that it proposes."""
    right = sum(len(np.intersect1d(rival.near(points[at]), rows)) for at, rows in wanted.items())
    return right / sum(map(len, wanted.values()))


def rival(options: Row) -> Row:
    """Build one rival, find the narrowest search that reaches the target, time it."""
    vectors = stored_vectors(options["vectors"], "thumb", options["count"])
    unique, _ = graph.unique_vectors(vectors, np.arange(len(vectors)))
    unique = np.random.default_rng(graph.SEED).permutation(unique)
    points = points_of(vectors, unique, options["dimension"])
    neighbours = true_neighbours(options, unique)
    asked = sorted(neighbours)[:: max(1, len(neighbours) // ASKED)]
    wanted = {at: neighbours[at] for at in asked}
    squared_reach = reach(vectors.descriptor, options["cutoff"]) ** 2
    made = RIVALS[options["rival"]](points, squared_reach, options["threads"])
    returned()
    before = memory_mb("RssAnon")
    _, cost = metered(made.build)
    returned()
    row: dict[str, Any] = {**cost.fields, "loaded_mb": round(memory_mb("RssAnon") - before, 1)}
    row |= {"grown_mb": round(cost.anon_mb - before, 1), "parameters": made.parameters}
    for width in made.widths:
        made.widen(width)
        row |= {"recall": recall_of(made, wanted, points), "width": width}
        if row["recall"] >= TARGET:
            break
    row["neighbours"] = sum(map(len, wanted.values()))
    return {**row, **timed(made, points)}


def returned() -> None:
    """Give freed memory back to the system, so that what is held is what is used (glibc only)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def timed(made: Rival, points: Points) -> Row:
    """Return how long a query of an ordinary vector takes, most of which are near to nothing."""
    chosen = points[:: max(1, len(points) // TIMED)]
    wall_s = []
    began = time.process_time()
    for point in chosen:
        start = time.perf_counter()
        made.near(point)
        wall_s.append(time.perf_counter() - start)
    cpu_s = time.process_time() - began
    p50, p99 = (round(1e6 * float(np.percentile(wall_s, each)), 1) for each in (50, 99))
    return {"p50_us": p50, "p99_us": p99, "cpu_us": round(1e6 * cpu_s / len(chosen), 1)}


def main(arguments: Sequence[str]) -> int:
    """Measure one rival and print its row."""
    print(json.dumps(rival(json.loads(arguments[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
