"""annidx.search.confirm: which pairs make groups, at its limits and a little beyond."""

from __future__ import annotations

import numpy as np
import pytest

from annidx.descriptors import SIGNATURE, THUMB
from annidx.images.signature import pack
from annidx.search import confirm
from annidx.search.confirm import confirmed, is_plain
from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import Stored, distances
from tests.making import thumbs, vectors


def page(level: int, text: float) -> Stored:
    """Return the thumb of a page: a colour, and a share of its pixels that is far from it."""
    pixels = np.full((400, 3), level, np.uint8)
    pixels[: round(400 * text)] = level - 90
    return pixels.reshape(1, -1)


def signature_at(distance: float) -> tuple[Stored, float]:
    """Return two signatures, (2, 136), at about a distance, and the exact one."""
    levels = np.ones((2, 272), np.int8)
    # Of 272 ones some become zeros: ||x - y|| / (||x|| + ||y||) by their number.
    norm = np.sqrt(272)
    counts = np.arange(273)
    apart = np.sqrt(counts) / (norm + np.sqrt(272 - counts))
    levels[1, : int(np.argmin(np.abs(apart - distance)))] = 0
    stored = pack(levels)
    return stored, float(distances(SIGNATURE, stored[:1], stored[1:])[0])


def kept(signatures: Stored, apart: float, pictures: Stored | None = None, **limits: float) -> bool:
    """Tell whether a pair stays that is so far apart by thumb."""
    pair = RowPairs(np.array([0]), np.array([1]), np.array([apart]))
    seen = thumbs(2, 1) if pictures is None else pictures
    result = confirmed(pair, THUMB, vectors(THUMB, seen), vectors(SIGNATURE, signatures), **limits)
    assert result.distances.tolist() in ([apart], [])
    return len(result) == 1


def test_the_limits_as_they_are_documented() -> None:
    assert (confirm.NEAR * THUMB.cutoff, confirm.LOOSE, confirm.TIGHT) == (60.0, 0.4, 0.2)


def test_very_near_pairs_are_not_asked() -> None:
    other, _ = signature_at(0.9)
    assert kept(other, 60.0)
    assert not kept(other, np.nextafter(60.0, 61.0))


def test_a_signature_at_the_limit_does_not_object() -> None:
    stored, apart = signature_at(0.4)
    assert kept(stored, 300.0, loose=apart, tight=0.0)
    assert not kept(stored, 300.0, loose=np.nextafter(apart, 0.0), tight=1.0)


def test_two_plain_pictures_are_asked_more() -> None:
    plain, text = page(250, 0.2), page(250, 0.7)
    stored, apart = signature_at(0.3)
    assert not kept(stored, 300.0, np.concatenate([plain, plain]))
    assert kept(stored, 300.0, np.concatenate([plain, plain]), tight=apart)
    # One that is not plain is not like a slide of the same template.
    assert kept(stored, 300.0, np.concatenate([plain, thumbs(1, 2)]))
    assert not is_plain(thumbs(1, 2))[0]
    assert is_plain(text)[0]  # more than half is the colour of the text


def test_pairs_by_signature_are_only_asked_where_plain() -> None:
    stored, apart = signature_at(0.45)
    pair = RowPairs(np.array([0]), np.array([1]), np.array([apart]))
    signatures = vectors(SIGNATURE, stored)
    photos = vectors(THUMB, thumbs(2, 1))
    assert len(confirmed(pair, SIGNATURE, photos, signatures)) == 1
    slides = vectors(THUMB, np.repeat(page(250, 0.2), 2, axis=0))
    assert len(confirmed(pair, SIGNATURE, slides, signatures)) == 0


def test_many_pairs_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    one, other = np.triu_indices(12, 1)
    found = RowPairs(one, other, rng.uniform(50, 300, len(one)))
    levels = rng.choice([0, 1], (12, 272), p=[0.27, 0.73]).astype(np.int8)
    shown = vectors(THUMB, thumbs(12, 3), cuts=[5])
    asked = vectors(SIGNATURE, pack(levels), cuts=[5])
    whole = confirmed(found, THUMB, shown, asked)
    assert 0 < len(whole) < len(found)
    monkeypatch.setattr(confirm, "_AT_ONCE", 7)
    parts = confirmed(found, THUMB, shown, asked)
    assert parts.one.tolist() == whole.one.tolist()
    assert parts.distances.tolist() == whole.distances.tolist()


def test_no_pairs() -> None:
    empty = np.zeros(0, np.intp)
    archive = vectors(THUMB, thumbs(3, 1)), vectors(SIGNATURE, signature_at(0.1)[0])
    assert len(confirmed(RowPairs(empty, empty, np.zeros(0)), THUMB, *archive)) == 0


@pytest.mark.parametrize(("text", "plain"), [(0.0, True), (0.49, True), (0.5, False), (0.51, True)])
def test_plain_is_more_than_half(text: float, plain: bool) -> None:
    """At 0.51 it is the text that covers more than half."""
    assert bool(is_plain(page(200, text))[0]) is plain


@pytest.mark.parametrize(("grain", "plain"), [(4, True), (5, False)])
def test_plain_allows_for_grain(grain: int, plain: bool) -> None:
    pixels = np.full((400, 3), 128, np.uint8)
    pixels[:190, 1] += np.uint8(grain)
    pixels[190:380, 2] -= np.uint8(grain)
    pixels[380:] = 0
    assert bool(is_plain(pixels.reshape(1, -1))[0]) is plain
