"""annidx.search.vectors: exact distances, and bounds that lose no match."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from annidx.descriptors import SIGNATURE, SIGNATURE_CODES, THUMB, Descriptor
from annidx.images.signature import pack
from annidx.search import projection as projections
from annidx.search import vectors as module
from annidx.search.projection import Projection
from annidx.search.vectors import Stored, distances, embed, is_flat, reach, values
from tests.making import thumbs, vectors
from tests.search.spreads import METRICS, copies, mixture, name_of, spread

EUCLIDEAN = [metric for metric in METRICS if metric.distance == "euclidean"]
each_metric = pytest.mark.parametrize("metric", METRICS, ids=name_of)
each_euclidean = pytest.mark.parametrize("metric", EUCLIDEAN, ids=name_of)

levels = arrays(np.int8, (2, 272), elements=st.integers(-2, 2))
sparse = arrays(np.int8, (2, 272), elements=st.integers(-2, 2), fill=st.just(0))


def literal(metric: Descriptor, one: list[int], other: list[int]) -> float:
    """Return the distance as the definition has it, in plain Python."""
    apart = math.sqrt(sum((x - y) ** 2 for x, y in zip(one, other, strict=True)))
    if metric in EUCLIDEAN:
        return apart
    lengths = math.sqrt(sum(x * x for x in one)) + math.sqrt(sum(y * y for y in other))
    return apart / lengths if lengths else 0.0


def literal_values(metric: Descriptor, stored: bytes) -> list[int]:
    if metric in EUCLIDEAN:
        return list(stored)
    level_of = {code: level for level, code in SIGNATURE_CODES.items()}
    return [level_of[half] for byte in stored for half in (byte >> 4, byte & 15)]


@each_metric
def test_values(metric: Descriptor) -> None:
    stored = spread(metric, 3, 1)
    expected = [literal_values(metric, row.tobytes()) for row in stored]
    assert values(metric, stored).tolist() == expected
    assert values(metric, stored[:0]).shape == (0, metric.dimension)
    assert embed(metric, stored[:0]).shape == (0, metric.dimension)


@given(levels)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_packed_signatures_come_back(given_levels: npt.NDArray[np.int8]) -> None:
    assert values(SIGNATURE, pack(given_levels)).tolist() == given_levels.tolist()


@each_metric
def test_distances_are_those_of_plain_python(metric: Descriptor) -> None:
    one, other = mixture(metric, 40, 1), mixture(metric, 40, 2)
    other[:5] = one[:5]
    one[5:7] = other[6:8] = 0
    found = distances(metric, one, other)
    expected = [
        literal(metric, literal_values(metric, x.tobytes()), literal_values(metric, y.tobytes()))
        for x, y in zip(one, other, strict=True)
    ]
    assert found.tolist() == expected  # to the last bit
    assert found[:5].tolist() == [0.0] * 5
    assert distances(metric, one[:1], other).tolist() == [
        *distances(metric, np.repeat(one[:1], 40, axis=0), other)
    ]


@each_euclidean
def test_the_largest_distances_of_bytes(metric: Descriptor) -> None:
    black = np.zeros((1, metric.width), np.uint8)
    assert distances(metric, black, ~black)[0] == pytest.approx(metric.largest, rel=1e-15)


def test_the_largest_distances_of_signatures() -> None:
    plus, minus = (pack(np.full((1, 272), level, np.int8)) for level in (2, -2))
    zero = np.zeros((1, 136), np.uint8)
    assert distances(SIGNATURE, plus, minus)[0] == SIGNATURE.largest
    assert distances(SIGNATURE, zero, plus)[0] == 1.0
    assert distances(SIGNATURE, zero, zero)[0] == 0.0


@each_metric
def test_distances_do_not_depend_on_the_blocks(
    metric: Descriptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = spread(metric, 50, 1), spread(metric, 50, 2)
    whole = distances(metric, one, other), distances(metric, one[:1], other)
    monkeypatch.setattr(module, "_BLOCK", 7)
    parts = distances(metric, one, other), distances(metric, one[:1], other)
    assert np.array_equal(whole, parts)


def check_reach(metric: Descriptor, pair: Stored) -> None:
    """A pair at exactly the cutoff lies within reach, embedded and projected alike."""
    cutoff = distances(metric, pair[:1], pair[1:])[0]
    limit = reach(metric, cutoff) ** 2
    points = embed(metric, pair)
    assert points.dtype == np.float32
    for found in (points, projection(metric).apply(points)):
        squares = np.einsum("ij,ij->i", found, found)
        squared = squares[0] + squares[1] - np.float32(2) * (found[0] @ found[1])
        assert squared <= np.float32(limit)  # as the searches compute it
        assert ((found[0] - found[1]) ** 2).sum() <= np.float32(limit)


@cache
def projection(metric: Descriptor) -> Projection:
    return projections.fit(vectors(metric, spread(metric, 80, 5)), np.arange(80))


@given(levels | sparse)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_no_signature_within_the_cutoff_is_out_of_reach(pair: npt.NDArray[np.int8]) -> None:
    check_reach(SIGNATURE, pack(pair))


@each_euclidean
@given(st.data())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_no_bytes_within_the_cutoff_are_out_of_reach(
    metric: Descriptor, data: st.DataObject
) -> None:
    shape = 2, metric.dimension
    pixels = arrays(np.uint8, shape, elements=st.integers(0, 255))
    dark = arrays(np.uint8, shape, elements=st.sampled_from([0, 255]), fill=st.just(0))
    check_reach(metric, data.draw(pixels | dark))


@each_metric
@pytest.mark.parametrize("change", [0.0, 0.3, 3.0, 30.0])
def test_no_near_copy_is_out_of_reach(metric: Descriptor, change: float) -> None:
    stored = spread(metric, 30, 7)
    for one, other in zip(stored, copies(metric, stored, 8, change), strict=True):
        check_reach(metric, np.stack([one, other]))


def test_empty_signatures_are_within_reach() -> None:
    zero = np.zeros((1, 136), np.uint8)
    check_reach(SIGNATURE, np.concatenate([zero, zero]))
    check_reach(SIGNATURE, np.concatenate([zero, spread(SIGNATURE, 1, 1)]))


@each_metric
def test_reach_is_not_much_wider_than_it_must_be(metric: Descriptor) -> None:
    """Or every search would look at everything."""
    wide = 1.0 if metric in EUCLIDEAN else 2.0
    for share in (0.01, 0.1, 1.0):
        cutoff = share * metric.largest
        assert wide * cutoff <= reach(metric, cutoff) <= wide * cutoff * 1.02 + 0.01


# --- an archive of several segments -------------------------------------------------------------


@each_metric
def test_take_follows_the_order_that_was_asked(metric: Descriptor) -> None:
    stored = spread(metric, 20, 3)
    archive = vectors(metric, stored, cuts=[4, 5, 5, 13])
    rows = np.random.default_rng(1).integers(0, 20, 60)
    assert len(archive) == 20
    assert np.array_equal(archive.take(rows), stored[rows])
    assert archive.take(np.zeros(0, np.intp)).shape == (0, metric.width)
    assert np.array_equal(archive.points(rows), embed(metric, stored[rows]))


def test_blocks_are_the_live_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 6)
    live = np.random.default_rng(1).random(20) < 0.7
    stored = thumbs(20, 3)
    archive = vectors(THUMB, stored, live, cuts=[8])
    blocks = list(archive.blocks())
    assert np.concatenate([rows for rows, _ in blocks]).tolist() == np.flatnonzero(live).tolist()
    assert max(len(rows) for rows, _ in blocks) == 6
    assert np.array_equal(np.concatenate([part for _, part in blocks]), stored[live])
    asked = np.array([19, 2, 2])
    ((rows, part),) = archive.blocks(asked)
    assert rows.tolist() == [19, 2, 2]
    assert np.array_equal(part, stored[asked])


def test_an_empty_archive() -> None:
    empty = module.Vectors(THUMB, [], np.zeros(0, np.bool_))
    assert len(empty) == 0
    assert list(empty.blocks()) == []
    assert empty.take(np.zeros(0, np.intp)).shape == (0, 1200)


# --- pictures with next to no information -------------------------------------------------------


def test_flat_pictures() -> None:
    rng = np.random.default_rng(1)
    flat = np.tile(rng.integers(0, 256, (5, 3), dtype=np.uint8), (1, 400))
    paper = np.clip(rng.normal(245, 3, (5, 1200)), 0, 255).astype(np.uint8)
    assert is_flat(flat).tolist() == [True] * 5
    assert is_flat(paper).tolist() == [True] * 5
    assert is_flat(thumbs(20, 1)).tolist() == [False] * 20


def test_no_pictures_are_flat() -> None:
    assert is_flat(np.zeros((0, 1200), np.uint8)).tolist() == []


def test_one_channel_is_enough_not_to_be_flat() -> None:
    picture: npt.NDArray[Any] = np.full((1, 400, 3), 100, np.uint8)
    picture[0, :, 2] += np.arange(400, dtype=np.uint8) % 16
    assert is_flat(picture.reshape(1, -1)).tolist() == [False]
    picture[0, :, 2] = 100 + np.arange(400) % 8  # a deviation of 2.3
    assert is_flat(picture.reshape(1, -1)).tolist() == [True]
