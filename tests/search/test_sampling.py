"""annidx.search.sampling: an archive's own sample, and what is fitted to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from annidx.search import recognise, sampling
from annidx.search.chance import PRIORS, Chance
from annidx.search.recognise import Archive, Pictures
from tests.search.test_recognise import EDITS, OTHERS, archive_of, made, pictures

COUNT = len(EDITS) + 1 + OTHERS


@pytest.fixture(scope="module")
def archive() -> Archive:
    """Return a picture, its edits, and others."""
    edits = [edit(made(1)) for edit in EDITS.values()]
    return archive_of(pictures([made(1), *edits, *(made(100 + at) for at in range(OTHERS))]))


def test_a_sample_holds_the_matches_that_a_search_finds(archive: Archive) -> None:
    found = sampling.drawn(archive)
    assert sorted(found.rows) == list(range(COUNT))
    assert (found.ones != found.others).all()
    asked = archive.take(np.arange(COUNT))
    every = recognise.of_pictures(archive, asked, views="default")
    apart = every.where(every.one != every.other)
    assert apart.looks is not None
    expected = zip(apart.one, apart.other, apart.looks.scores.tolist(), strict=True)
    drawn = zip(found.ones, found.others, np.asarray(found.scores).tolist(), strict=True)
    assert sorted(drawn) == sorted(expected)
    told = dict(zip(found.rows.tolist(), found.classes.tolist(), strict=True))
    assert [told[row] for row in found.ones.tolist()] == found.classes_one.tolist()
    assert [told[row] for row in found.others.tolist()] == found.classes_other.tolist()
    again = sampling.drawn(archive)
    assert again.rows.tolist() == found.rows.tolist()


def test_what_is_not_there_is_not_drawn(archive: Archive) -> None:
    live = np.arange(COUNT) % 3 != 0
    some = archive.only(live)
    found = sampling.drawn(some)
    assert sorted(found.rows) == np.flatnonzero(live).tolist()
    assert live[found.others].all()
    assert sampling.of_archive(some).pictures == int(live.sum())


def test_so_many_rows_and_matches_are_enough(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "ROWS", 12)
    whole = sampling.drawn(archive).rows.tolist()
    assert len(set(whole)) == 12
    assert whole != sorted(whole)
    monkeypatch.setattr(sampling, "COMPARED", 8 * COUNT)
    monkeypatch.setattr(sampling, "FEWEST", 5)
    assert sampling.drawn(archive).rows.tolist() == whole[:8]
    monkeypatch.setattr(sampling, "FEWEST", 9)
    assert sampling.drawn(archive).rows.tolist() == whole[:9]
    monkeypatch.setattr(sampling, "COMPARED", 12 * COUNT)
    monkeypatch.setattr(sampling, "_TOGETHER", 4)
    monkeypatch.setattr(sampling, "MATCHES", 1)
    cut = sampling.drawn(archive)
    assert cut.rows.tolist() == whole[: len(cut.rows)]
    assert len(cut.rows) < 12
    assert len(cut.ones) >= 1


def test_edits_in_an_archive_do_not_spoil_what_is_fitted(archive: Archive) -> None:
    sample = sampling.drawn(archive)
    fitted = sampling.of_archive(archive)
    known = Chance.beforehand(sample.classes, COUNT)
    looks = sample.scores, sample.structures, sample.distances
    both = [
        each.chance(*looks, sample.classes_one, sample.classes_other) for each in (fitted, known)
    ]
    edits = (sample.ones <= len(EDITS)) & (sample.others <= len(EDITS))
    assert edits.sum() >= 2 * len(EDITS)
    assert (both[0][edits] <= 1).mean() >= (both[1][edits] <= 1).mean() >= 0.5


def test_an_empty_archive_has_what_is_known_beforehand() -> None:
    none = Pictures(*(np.zeros((0, width), np.uint8) for width in (256, 4096, 1200)))
    fitted = sampling.of_archive(archive_of(none))
    assert fitted.pictures == 0
    assert [tail.rate for tail in fitted.tails] == pytest.approx(
        [rate for rate, _ in PRIORS.values()]
    )
    assert replace(fitted, pictures=1) != fitted
