"""nmslib's HNSW graph, with its traps hidden. The only module that imports nmslib.

What is guarded against, all measured with nmslib 2.1.2: equal vectors wreck the graph for everybody
else (so equal vectors are one node, and so are many near-equal ones: see leaders.py); members that
cannot be found (post=2, shuffled insertion, and a check after the build); wrong shapes, dtypes,
NaN, k=0 (memory faults); squared distances (they never leave this module's callers); a flipped bit
in a file (it crashes the process: the caller checks the file's hash before `load`).
"""

from __future__ import annotations

import base64
import errno
import json
import logging
import sys
import threading
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from annidx.descriptors import FINGERPRINT
from annidx.errors import IndexDamaged
from annidx.native import quiet_stderr
from annidx.search import projection as projections
from annidx.search.leaders import leaders
from annidx.search.projection import Projection
from annidx.search.vectors import Points, Rows, Stored, Vectors, embed, reach

EF_SEARCH = 100
"""Twice what finds every pair within 300 of 100,000 thumbs; 200 takes 1.7 times as long."""
EF_SEARCH_OF_VIEWS = 24
"""Of the fingerprint's graph, which is asked for dozens of variants at once: it finds all of the
nearest 8 of 841 pairs of views of 100,000 pictures, in 70 % of the time of 40."""
EF_CONSTRUCTION = (100, 400)
"""Tried in turn until the members find themselves and the recall reaches its target. 200 at first
finds the same pairs of 100,000 thumbs, and takes twice the time."""
SELF_TARGET = 0.9995
NEAR_EQUAL = 0.2
"""Share of the default cutoff's reach within which many points get one leader (thumbs: 60)."""
SEED = 20_261_122
_CHECKED_MEMBERS = 20_000
_import_lock = threading.Lock()


@dataclass(slots=True)
class Graph:
    """A graph over the unique vectors of some rows; one stands for many that are near-equal.

    Attributes
    ----------
    handle : nmslib index
    projection : Projection
        From the embedding of the metric to the graph's space.
    offsets : (nodes + 1,) int32
    members : (rows,) int32
        ``members[offsets[i]:offsets[i + 1]]`` are the rows that node i stands for, counted from the
        first row of the graph's segments.
    radius : float
        No row's point lies further from its node.
    """

    handle: Any
    projection: Projection
    offsets: npt.NDArray[np.int32]
    members: npt.NDArray[np.int32]
    radius: float = 0.0

    @property
    def nodes(self) -> int:
        """Number of unique vectors, clusters of near-equal ones counted once."""
        return len(self.offsets) - 1

    def project(self, vectors: Vectors, queries: Stored) -> Points:
        """Return queries (m, width) uint8 as points of the graph's space, (m, p) float32."""
        points = self.projection.apply(embed(vectors.descriptor, queries))
        if not np.isfinite(points).all():
            message = "a query vector is not finite"
            raise ValueError(message)
        return np.ascontiguousarray(points, np.float32)

    def nearest(self, point: Points, count: int) -> tuple[Rows, npt.NDArray[np.float32]]:
        """Return about `count` nearest nodes of one point (p,), and their squared distances.

        Fewer than `count` may come back: nmslib gives no guarantee.
        """
        if point.shape != (self.projection.dimension,) or point.dtype != np.float32:
            expected = self.projection.dimension
            message = f"expected a point ({expected},) float32, got {point.shape} {point.dtype}"
            raise ValueError(message)
        nodes, squared = self.handle.knnQuery(point, k=max(1, min(count, self.nodes)))
        return nodes.astype(np.intp), squared

    def nearest_of_each(
        self, points: Points, count: int, threads: int
    ) -> tuple[Rows, npt.NDArray[np.int32]]:
        """Return about `count` nearest nodes of each point, as rows that these stand for.

        Returns
        -------
        (m,) intp
            Which point.
        (m,) int32
            A row, counted as in `members`; near-equal ones and copies included.
        """
        count = max(1, min(count, self.nodes))
        answers = self.handle.knnQueryBatch(points, k=count, num_threads=max(1, threads))
        which = np.repeat(np.arange(len(points)), [len(nodes) for nodes, _ in answers])
        nodes = np.concatenate([np.zeros(0, np.int32), *(nodes for nodes, _ in answers)])
        sizes = self.offsets[nodes + 1] - self.offsets[nodes]
        starts = np.repeat(self.offsets[nodes] - np.cumsum(sizes) + sizes, sizes)
        return np.repeat(which, sizes), self.members[starts + np.arange(int(sizes.sum()))]

    def rows_of(self, nodes: Rows) -> Rows:
        """Return the rows of some nodes, copies included, ascending."""
        parts = [self.members[self.offsets[node] : self.offsets[node + 1]] for node in nodes]
        return np.sort(np.concatenate(parts)).astype(np.intp) if parts else np.zeros(0, np.intp)

    def save(self, handle: BinaryIO) -> None:
        """Write the .hnsw file. Only a graph that was built, not loaded, can be saved.

        Parameters
        ----------
        handle : binary file
            Open for writing, by its descriptor: nmslib takes no path that is not UTF-8.
        """
        try:
            self.handle.saveIndex(f"/dev/fd/{handle.fileno()}", save_data=False)
        except RuntimeError as error:  # nmslib hides errno behind its stream's own words
            message = f"the graph cannot be written ({error}): is the disk full?"
            raise OSError(errno.EIO, message, str(handle.name)) from None

    def sidecar(self, facts: dict[str, Any]) -> bytes:
        """Return the JSON that stands beside the .hnsw file; `facts` are added to it."""
        fields = {
            **facts,
            "nodes": self.nodes,
            "dimension": self.projection.dimension,
            "space": "l2",
            "radius": self.radius,
            "offsets": _encode(self.offsets),
            "members": _encode(self.members),
            "mean": _encode(self.projection.mean),
            "directions": _encode(self.projection.directions),
        }
        return json.dumps(fields, sort_keys=True).encode()


def build(
    vectors: Vectors, rows: Rows, *, first: int = 0, ef: int = EF_CONSTRUCTION[0], threads: int
) -> tuple[Graph, float]:
    """Build a graph over some rows; return it with the share of nodes that find themselves.

    Two builds of the same rows give different graphs (nmslib draws its own random levels).

    Parameters
    ----------
    vectors : Vectors
    rows : (n,) intp
        At least one.
    first : int
        The row from which its members are counted.
    ef : int
        efConstruction: how widely nmslib looks around for each node's neighbours.
    threads : int
    """
    unique, inverse = unique_vectors(vectors, rows)
    projection = projections.fit(vectors, unique)
    points = projections.project(vectors, unique, projection)
    stands = leaders(points, NEAR_EQUAL * reach(vectors.descriptor, vectors.descriptor.cutoff))
    radius = np.linalg.norm(points - points[stands], axis=1).max() * 1.00001
    heads = np.unique(stands)
    # Insertion in the order of the walk would put the pictures of one folder side by side.
    order = np.random.default_rng(SEED).permutation(len(heads))
    node_of = np.empty(len(unique), np.intp)
    node_of[heads[order]] = np.arange(len(heads))
    nodes = node_of[stands[inverse]]
    by_node = np.argsort(nodes, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(nodes, minlength=len(heads)))])
    members = (rows[by_node] - first).astype(np.int32)
    points = points[heads[order]]
    handle = _built(points, ef, threads)
    graph = Graph(handle, projection, offsets.astype(np.int32), members, float(radius))
    return graph, _share_found(graph, points, threads)


def load(descriptor: int, sidecar: bytes, where: str) -> Graph:
    """Load a graph whose files' hashes were checked.

    Parameters
    ----------
    descriptor : int
        Of the .hnsw file, open for reading: its name may be gone, or be no UTF-8.
    sidecar : bytes
        The .json beside it.
    where : str
        Named in errors.

    Raises
    ------
    IndexDamaged
        When the sidecar and the graph do not fit.
    """
    try:
        fields = json.loads(sidecar)
        projection = Projection(
            _decode(fields["mean"], np.float32),
            _decode(fields["directions"], np.float32).reshape(-1, fields["dimension"]),
        )
        offsets = _decode(fields["offsets"], np.int32)
        members = _decode(fields["members"], np.int32)
        radius = float(fields.get("radius", 0.0))  # older graphs have no leaders
        of_views = fields.get("metric") == FINGERPRINT.name
    except (ValueError, KeyError, TypeError) as error:
        message = f"{where}: not a whole graph description ({type(error).__name__}: {error})"
        raise IndexDamaged(message) from None
    handle = _nmslib().init(method="hnsw", space="l2")
    try:
        handle.loadIndex(f"/dev/fd/{descriptor}", load_data=False)
    except Exception as error:  # nmslib raises bare RuntimeErrors of many kinds
        message = f"{where}: nmslib cannot load it ({error})"
        raise IndexDamaged(message) from None
    handle.setQueryTimeParams({"efSearch": EF_SEARCH_OF_VIEWS if of_views else EF_SEARCH})
    return Graph(handle, projection, offsets, members, radius)


def unique_vectors(vectors: Vectors, rows: Rows) -> tuple[Rows, Rows]:
    """Find rows with equal stored bytes.

    Returns
    -------
    unique : (u,) intp
        The first row of each distinct vector, ascending.
    inverse : (n,) intp
        For each of `rows`, the index of its vector in `unique`.
    """
    hashes = np.empty(len(rows), np.int64)
    at = 0
    for _, stored in vectors.blocks(rows):
        hashes[at : at + len(stored)] = [hash(vector.tobytes()) for vector in stored]
        at += len(stored)
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    first_of = first[inverse]
    for start in range(0, len(rows), 8192):  # two vectors of one hash are told apart here
        block = np.arange(start, min(start + 8192, len(rows)))
        block = block[first_of[block] != block]
        differ = (vectors.take(rows[block]) != vectors.take(rows[first_of[block]])).any(axis=1)
        first_of[block[differ]] = block[differ]
    places, inverse = np.unique(first_of, return_inverse=True)
    return rows[places], inverse.astype(np.intp)


def _built(points: Points, ef: int, threads: int) -> Any:
    handle = _nmslib().init(method="hnsw", space="l2")
    handle.addDataPointBatch(points)
    parameters = {"M": 16, "efConstruction": ef, "post": 2, "indexThreadQty": max(1, threads)}
    handle.createIndex(parameters, print_progress=False)
    handle.setQueryTimeParams({"efSearch": EF_SEARCH})
    return handle


def _share_found(graph: Graph, points: Points, threads: int) -> float:
    """Return the share of (sampled) nodes that are their own nearest neighbour."""
    step = max(1, -(-len(points) // _CHECKED_MEMBERS))
    checked = np.arange(0, len(points), step)
    answers = graph.handle.knnQueryBatch(points[checked], k=1, num_threads=max(1, threads))
    found = sum(
        len(nodes) == 1 and bool(nodes[0] == node or squared[0] <= 0.0)
        for node, (nodes, squared) in zip(checked, answers, strict=True)
    )
    return found / len(checked)


def _encode(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _decode(text: str, dtype: type[np.generic]) -> npt.NDArray[Any]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype)


def _nmslib() -> Any:
    with _import_lock:
        if "nmslib" in sys.modules:
            return sys.modules["nmslib"]
        with quiet_stderr():
            import nmslib  # noqa: PLC0415 - heavy, and it prints while it is imported

    # What it logs as an error comes as an exception, too, and is said once, by us.
    logging.getLogger("nmslib").setLevel(logging.CRITICAL)
    return nmslib
