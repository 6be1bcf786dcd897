"""annidx.search.transforms: a turned descriptor is the descriptor of the turned picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annidx.descriptors import DESCRIPTORS, GRAY8, SIGNATURE, THUMB, Descriptor
from annidx.images import decode, extract
from annidx.search import transforms
from annidx.search.exact import Hits, nearest
from annidx.search.transforms import NAMES, SETS, TRANSPOSING, nearest_of, turned
from annidx.search.vectors import Stored, distances
from tests.making import photo, signatures, thumbs

METRICS = [THUMB, GRAY8, DESCRIPTORS["gray16"], DESCRIPTORS["gray20"], SIGNATURE]
# Clockwise; Pillow turns anticlockwise.
BY_PILLOW = {
    "flip-horizontal": Image.Transpose.FLIP_LEFT_RIGHT,
    "flip-vertical": Image.Transpose.FLIP_TOP_BOTTOM,
    "rotate-90": Image.Transpose.ROTATE_270,
    "rotate-180": Image.Transpose.ROTATE_180,
    "rotate-270": Image.Transpose.ROTATE_90,
    "transpose": Image.Transpose.TRANSPOSE,
    "transverse": Image.Transpose.TRANSVERSE,
}
AFTER = {  # what is the same as one after another
    ("rotate-90", "rotate-90"): "rotate-180",
    ("rotate-90", "rotate-180"): "rotate-270",
    ("rotate-90", "rotate-270"): "none",
    ("flip-horizontal", "flip-vertical"): "rotate-180",
    ("rotate-90", "flip-horizontal"): "transpose",
    ("rotate-90", "flip-vertical"): "transverse",
}
FURTHEST = {"thumb": 50, "gray8": 20, "gray16": 25, "gray20": 30, "signature": 0.08}


def described(image: Image.Image) -> dict[str, Stored]:
    found = extract.picture_record(decode.from_image(image), tuple(DESCRIPTORS)).descriptors
    return {name: np.frombuffer(value, np.uint8)[None] for name, value in found.items()}


def unrelated(metric: Descriptor, count: int, seed: int) -> Stored:
    if metric is SIGNATURE:
        return signatures(count, seed)
    return thumbs(count, seed)[:, : metric.width]


@pytest.mark.parametrize("name", BY_PILLOW)
def test_against_pictures_that_were_turned(name: str) -> None:
    for seed, size in enumerate([(640, 480), (300, 500), (64, 48), (333, 333)]):
        image = photo(seed, size)
        before, after = described(image), described(image.transpose(BY_PILLOW[name]))
        for metric in METRICS:
            apart = distances(metric, turned(metric, before[metric.name], name), after[metric.name])
            exact = metric is not SIGNATURE and name not in TRANSPOSING
            assert apart[0] <= (0 if exact else FURTHEST[metric.name])
            unturned = distances(metric, before[metric.name], after[metric.name])
            assert unturned[0] > 3 * FURTHEST[metric.name]  # else this would show nothing


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_transforms_are_a_group_and_keep_distances(metric: Descriptor) -> None:
    stored = unrelated(metric, 6, seed=1)
    for (first, second), both in AFTER.items():
        twice = turned(metric, turned(metric, stored, first), second)
        assert np.array_equal(twice, turned(metric, stored, both))
    for name in NAMES:
        moved = turned(metric, stored, name)
        assert moved.dtype == np.uint8
        apart = distances(metric, moved[:3], moved[3:])
        assert np.array_equal(apart, distances(metric, stored[:3], stored[3:]))
    assert turned(metric, stored[:0], "transpose").shape == (0, metric.width)


def test_names_and_sets() -> None:
    assert set(BY_PILLOW) | {"none"} == set(NAMES)
    assert SETS["all"] == NAMES
    for names in SETS.values():
        assert names[0] == "none"
        assert list(names) == sorted(names, key=NAMES.index)
    assert {"rotate-90", "rotate-180", "rotate-270"} == set(SETS["rotations"]) - {"none"}
    assert {"flip-horizontal", "flip-vertical"} == set(SETS["flips"]) - {"none"}


@given(
    st.lists(st.lists(st.integers(0, 6), min_size=12, max_size=12), min_size=1, max_size=3),
    st.integers(1, 5) | st.none(),
    st.integers(0, 6),
)
def test_the_nearest_variant_of_each_row(
    apart: list[list[int]], k: int | None, cutoff: int
) -> None:
    """Against doing it without k: whatever k is given, it is the beginning of the whole answer."""
    rows = np.arange(12)
    by_variant = np.array(apart, np.float64)

    def hits(values: np.ndarray, most: int | None) -> Hits:
        return nearest(rows, values, cutoff=cutoff, k=most)

    parts = [(NAMES[at], hits(values, k)) for at, values in enumerate(by_variant)]
    found, turns = nearest_of(parts, k)
    whole = nearest(rows, by_variant.min(axis=0), cutoff=cutoff, k=k)
    assert np.array_equal(found.rows, whole.rows)
    assert np.array_equal(found.distances, whole.distances)
    assert found.complete == whole.complete
    for row in found.rows.tolist():
        assert turns[row] == NAMES[int(by_variant[:, row].argmin())]  # the first of equals


def test_it_knows_the_layout_without_images() -> None:
    """A signature holds 72 + 72 + 64 + 64 values, each the difference of two points of a grid."""
    grid = np.arange(81).reshape(9, 9)
    pairs = transforms._compared(grid)
    assert len(set(pairs)) == len(pairs) == SIGNATURE.dimension
    rng = np.random.default_rng(0)
    means = rng.integers(0, 256, (9, 9)).astype(np.float64)
    from annidx.images.signature import _levels  # noqa: PLC0415 - the layout's other side

    flat = means.reshape(-1)
    assert np.array_equal(
        np.sign(_levels(means)),
        [np.sign(flat[a] - flat[b]) if abs(flat[a] - flat[b]) > 2 else 0 for a, b in pairs],
    )
