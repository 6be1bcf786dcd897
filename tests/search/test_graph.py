"""annidx.search.graph: nmslib behind guards, equal vectors as one node, there and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from annidx.descriptors import THUMB, Descriptor
from annidx.errors import IndexDamaged
from annidx.search import graph as module
from annidx.search.graph import Graph, build, unique_vectors
from annidx.search.vectors import Vectors
from tests.making import thumbs, vectors
from tests.search.spreads import METRICS, load, mixture, name_of, save

COUNT = 400


@pytest.fixture(scope="module")
def archive() -> Vectors:
    """Four hundred pictures, 40 of which removed and 100 of which equal to others or near."""
    live = np.random.default_rng(1).random(COUNT) < 0.9
    return vectors(THUMB, mixture(THUMB, COUNT, 2), live, cuts=[150])


@pytest.fixture(scope="module")
def graph(archive: Vectors) -> Graph:
    built, share = build(archive, np.flatnonzero(archive.live), threads=2)
    assert share == 1.0
    return built


def points(archive: Vectors, graph: Graph, rows: list[int]) -> npt.NDArray[np.float32]:
    return graph.project(archive, archive.take(np.array(rows)))


def test_every_row_is_in_the_graph_once(archive: Vectors, graph: Graph) -> None:
    rows = np.flatnonzero(archive.live)
    stored = archive.take(rows)
    assert np.sort(graph.members).tolist() == rows.tolist()
    assert 200 < graph.nodes < len(np.unique(stored, axis=0)) < len(rows)
    assert graph.rows_of(np.arange(graph.nodes)).tolist() == rows.tolist()
    assert graph.rows_of(np.zeros(0, np.intp)).tolist() == []
    for node in range(graph.nodes):
        members = graph.project(archive, archive.take(graph.rows_of(np.array([node]))))
        near = np.linalg.norm(members - members[:, None], axis=2).min(axis=0)
        assert near.max() <= graph.radius


def test_every_row_finds_itself_first(archive: Vectors, graph: Graph) -> None:
    for row in np.flatnonzero(archive.live).tolist():
        nodes, squared = graph.nearest(points(archive, graph, [row])[0], 5)
        assert row in graph.rows_of(nodes)
        assert squared[0] <= graph.radius**2 + 1
        assert (np.diff(squared) >= 0).all()
        assert len(nodes) == 5


@pytest.mark.parametrize("metric", METRICS, ids=name_of)
def test_a_graph_of_any_metric(metric: Descriptor, tmp_path: Path) -> None:
    """Also of one whose vectors have no more values than the graph's space has dimensions."""
    archive = vectors(metric, mixture(metric, 200, 3), cuts=[70])
    built, share = build(archive, np.arange(200), threads=2)
    assert share == 1.0
    assert built.projection.dimension == 64 <= metric.dimension
    save(built, tmp_path / "g.hnsw")
    again = load(tmp_path / "g.hnsw", built.sidecar({}), "g.json")
    for row in range(200):
        nodes, _ = again.nearest(points(archive, again, [row])[0], 5)
        assert row in again.rows_of(nodes[:1])


def test_neighbouring_pictures_are_not_inserted_side_by_side(graph: Graph) -> None:
    """Members of one folder in a row make a poor graph."""
    first = graph.members[graph.offsets[:-1]]
    assert np.corrcoef(first, np.arange(graph.nodes))[0, 1] < 0.2


def test_there_and_back(archive: Vectors, graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "g.hnsw"
    save(graph, path)
    again = load(path, graph.sidecar({"metric": "thumb"}), "g.json")
    assert np.array_equal(again.members, graph.members)
    assert np.array_equal(again.offsets, graph.offsets)
    queries = points(archive, graph, list(range(0, COUNT, 7)))
    assert np.array_equal(queries, points(archive, again, list(range(0, COUNT, 7))))
    for query in queries:
        (one, near), (other, also) = graph.nearest(query, 40), again.nearest(query, 40)
        assert one.tolist() == other.tolist()
        assert near.tolist() == also.tolist()


def test_the_sidecar_says_what_it_is(graph: Graph) -> None:
    fields = json.loads(graph.sidecar({"metric": "thumb", "found_itself": 1.0}))
    assert (fields["nodes"], fields["dimension"], fields["space"]) == (graph.nodes, 64, "l2")
    assert (fields["metric"], fields["found_itself"]) == ("thumb", 1.0)


@pytest.mark.parametrize(
    "sidecar", [b"", b"{}", b"[]", b"null", b"\xff", b'{"mean": "!"}', b'{"mean": 1}']
)
def test_a_damaged_sidecar(graph: Graph, tmp_path: Path, sidecar: bytes) -> None:
    save(graph, tmp_path / "g.hnsw")
    with pytest.raises(IndexDamaged, match=r"g\.json"):
        load(tmp_path / "g.hnsw", sidecar, "g.json")


def test_a_sidecar_with_a_piece_missing(graph: Graph, tmp_path: Path) -> None:
    save(graph, tmp_path / "g.hnsw")
    fields: dict[str, Any] = json.loads(graph.sidecar({}))
    for name in ("offsets", "members", "mean", "directions", "dimension"):
        less = {key: value for key, value in fields.items() if key != name}
        with pytest.raises(IndexDamaged, match=name):
            load(tmp_path / "g.hnsw", json.dumps(less).encode(), "g.json")
        if name != "dimension":
            torn = {**fields, name: fields[name][:-7]}
            with pytest.raises(IndexDamaged):
                load(tmp_path / "g.hnsw", json.dumps(torn).encode(), "g.json")


@pytest.mark.parametrize(
    "point",
    [
        *(np.zeros(63, np.float32), np.zeros(65, np.float32), np.zeros(0, np.float32)),
        *(np.zeros((1, 64), np.float32), np.zeros(64, np.float64), np.zeros(64, np.uint8)),
    ],
    ids=lambda point: f"{point.shape} {point.dtype}",
)
def test_what_would_crash_nmslib_does_not_reach_it(
    graph: Graph, point: npt.NDArray[np.float32]
) -> None:
    with pytest.raises(ValueError, match=r"expected a point \(64,\) float32"):
        graph.nearest(point, 3)


@pytest.mark.parametrize("count", [-1, 0, 1, 5, 10_000])
def test_any_number_of_candidates(archive: Vectors, graph: Graph, count: int) -> None:
    nodes, _ = graph.nearest(points(archive, graph, [0])[0], count)
    if count <= 5:
        assert len(nodes) == max(1, count)
    else:  # nmslib does not promise all of them
        assert graph.nodes / 2 < len(nodes) <= graph.nodes


def test_what_is_not_finite_is_refused(archive: Vectors, graph: Graph) -> None:
    broken = Graph(graph.handle, graph.projection, graph.offsets, graph.members)
    mean = graph.projection.mean.copy()
    mean[0] = np.nan
    broken.projection = type(graph.projection)(mean, graph.projection.directions)
    with pytest.raises(ValueError, match="not finite"):
        points(archive, broken, [0])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_nodes(count: int) -> None:
    archive = vectors(THUMB, thumbs(count, 1))
    built, share = build(archive, np.arange(count), threads=1)
    assert (built.nodes, share) == (count, 1.0)
    for row in range(count):
        nodes, _ = built.nearest(points(archive, built, [row])[0], 32)
        assert len(nodes) == count
        assert built.rows_of(nodes[:1]).tolist() == [row]


def test_all_equal_vectors_are_one_node() -> None:
    archive = vectors(THUMB, np.repeat(thumbs(1, 1), 50, axis=0))
    built, share = build(archive, np.arange(50), threads=1)
    assert (built.nodes, share) == (1, 1.0)
    nodes, _ = built.nearest(points(archive, built, [7])[0], 10)
    assert built.rows_of(nodes).tolist() == list(range(50))


# --- equal vectors ------------------------------------------------------------------------------


def check_unique(archive: Vectors, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    unique, inverse = unique_vectors(archive, rows)
    assert (np.diff(unique) > 0).all()
    assert inverse.shape == rows.shape
    assert np.array_equal(archive.take(unique[inverse]), archive.take(rows))
    return unique


def test_unique_vectors(archive: Vectors) -> None:
    rows = np.flatnonzero(archive.live)
    unique = check_unique(archive, rows)
    stored = archive.take(rows)
    _, first = np.unique(stored, axis=0, return_index=True)
    assert unique.tolist() == rows[np.sort(first)].tolist()


def test_unique_vectors_of_few() -> None:
    one = vectors(THUMB, np.repeat(thumbs(1, 1), 5, axis=0))
    assert check_unique(one, np.arange(5)).tolist() == [0]
    assert check_unique(one, np.arange(0)).tolist() == []
    assert check_unique(one, np.array([3])).tolist() == [3]


def test_vectors_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes for equal vectors cost little; one node for different ones would lose pictures."""
    archive = vectors(THUMB, mixture(THUMB, 60, 3))
    for fake in (lambda _: 0, lambda data: data[0] % 3):
        monkeypatch.setattr(module, "hash", fake, raising=False)
        check_unique(archive, np.arange(60))


# --- the library --------------------------------------------------------------------------------


def test_nothing_is_printed_when_nmslib_is_imported() -> None:
    code = "from annidx.search.graph import _nmslib; print(_nmslib().__name__)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert (ran.stdout, ran.stderr) == ("nmslib\n", "")


def test_garbage_as_a_graph_is_damage(graph: Graph, tmp_path: Path) -> None:
    """Whose hash was checked before; but an empty file must not pass."""
    (tmp_path / "g.hnsw").write_bytes(b"")
    code = """
import sys
from pathlib import Path
from annidx.errors import IndexDamaged
from annidx.search.graph import load
try:
    load(99, Path(sys.argv[1]).read_bytes(), "g.hnsw")  # nothing is open there
except IndexDamaged as error:
    print(error)
"""
    (tmp_path / "g.json").write_bytes(graph.sidecar({}))
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "g.json")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "g.hnsw: nmslib cannot load it" in ran.stdout
