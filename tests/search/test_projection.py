"""annidx.search.projection: it never makes distances longer, and it is always the same."""

from __future__ import annotations

import numpy as np
import pytest

from annidx.descriptors import THUMB, Descriptor
from annidx.search import projection as projections
from annidx.search.projection import fit, project
from tests.making import thumbs, vectors
from tests.search.spreads import METRICS, name_of, spread

each_metric = pytest.mark.parametrize("metric", METRICS, ids=name_of)


@each_metric
@pytest.mark.parametrize("count", [1, 2, 30, 150])
def test_a_contraction(metric: Descriptor, count: int) -> None:
    archive = vectors(metric, spread(metric, count, 1))
    fitted = fit(archive, np.arange(count))
    strange = vectors(metric, spread(metric, 40, 2)).points(np.arange(40))
    squares = fitted.directions.T.astype(np.float64) @ fitted.directions
    assert np.allclose(squares, np.eye(fitted.dimension), atol=1e-5)
    long = np.linalg.norm(strange[:, None] - strange, axis=2)
    projected = fitted.apply(strange)
    short = np.linalg.norm(projected[:, None] - projected, axis=2)
    assert (short <= long * (1 + 1e-5) + 1e-4).all()
    assert 1 <= fitted.dimension <= projections.DIMENSION


def test_the_first_directions_hold_most() -> None:
    archive = vectors(THUMB, thumbs(150, 1))
    points = project(archive, np.arange(150), fit(archive, np.arange(150)))
    variances = points.var(axis=0)
    assert (np.diff(variances) <= 1e-3 * variances[0]).all()
    assert variances.sum() > 0.95 * archive.points(np.arange(150)).var(axis=0).sum()
    assert np.allclose(points.mean(axis=0), 0, atol=0.5)


def test_the_same_rows_give_the_same_projection() -> None:
    archive = vectors(THUMB, thumbs(60, 1), cuts=[20])
    one, other = (fit(archive, np.arange(60)) for _ in range(2))
    assert np.array_equal(one.directions, other.directions)
    assert np.array_equal(one.mean, other.mean)
    largest = np.abs(one.directions).argmax(axis=0)
    assert (one.directions[largest, np.arange(one.dimension)] > 0).all()


def test_a_sample_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections, "SAMPLE", 50)
    archive = vectors(THUMB, thumbs(149, 1))
    fitted = fit(archive, np.arange(149), 8)
    assert np.array_equal(fitted.directions, fit(archive, np.arange(0, 149, 3), 8).directions)
    assert fitted.dimension == 8


def test_all_equal_vectors_can_be_projected() -> None:
    archive = vectors(THUMB, np.repeat(thumbs(1, 1), 20, axis=0))
    points = project(archive, np.arange(20), fit(archive, np.arange(20)))
    assert np.isfinite(points).all()
    assert np.abs(points).max() < 1e-2


def test_project_in_parts_is_apply() -> None:
    archive = vectors(THUMB, thumbs(30, 1))
    fitted = fit(archive, np.arange(30))
    rows = np.array([4, 29, 4])
    assert np.allclose(project(archive, rows, fitted), fitted.apply(archive.points(rows)))
