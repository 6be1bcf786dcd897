"""The net and the second look find again what was cropped, turned and framed, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from annidx import fingerprints
from annidx.asking import Views
from annidx.descriptors import FINGERPRINT, GRAY64, THUMB, VIEW
from annidx.images import decode, extract
from annidx.search import net, recognise, views
from annidx.search.copies import Copies, Keys
from annidx.search.recognise import Archive, Pictures
from annidx.search.sightings import Sightings, equal, none, together
from annidx.search.vectors import Flags, Stored, Vectors, distances
from tests.images.pictures import photo

NAMES = (FINGERPRINT.name, GRAY64.name, THUMB.name)


def made(seed: int) -> Image.Image:
    """Return a picture with large and small structure."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    fine = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    size, how = (320, 240), Image.Resampling.BICUBIC
    return Image.blend(coarse.resize(size, how), fine.resize(size, how), 0.4)


def cropped(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    return image.crop((0, round(height * share), round(width * (1 - share)), height))


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "crop": lambda image: cropped(image, 0.1),
    "framed": lambda image: ImageOps.expand(image, 30, "black"),
    "mirrored": ImageOps.mirror,
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
}
OTHERS = 30


def pictures(images: list[Image.Image]) -> Pictures:
    """Return what is stored of pictures."""
    stored = [extract.picture_record(decode.from_image(each), NAMES).descriptors for each in images]
    return Pictures(*(rows([each[name] for each in stored]) for name in NAMES))


def rows(values: list[bytes]) -> Stored:
    return np.frombuffer(b"".join(values), np.uint8).reshape(len(values), -1)


def archive_of(some: Pictures, keys: Keys | None = None) -> Archive:
    live = np.ones(len(some), np.bool_)
    keys = np.zeros(len(some), np.int64) if keys is None else keys
    there = fingerprints.present(some.prints).ravel()
    return Archive(
        Vectors(FINGERPRINT, [some.prints], live),
        Vectors(VIEW, [some.prints.reshape(-1, VIEW.width)], there),
        Vectors(GRAY64, [some.grays], live),
        Vectors(THUMB, [some.thumbs], live),
        Copies(keys, live),
    )


@pytest.fixture(scope="module")
def stored() -> Pictures:
    """Return a picture, its edits, and others."""
    edits = [edit(made(1)) for edit in EDITS.values()]
    return pictures([made(1), *edits, *(made(100 + at) for at in range(OTHERS))])


@pytest.fixture(scope="module")
def archive(stored: Pictures) -> Archive:
    return archive_of(stored)


def test_pairs_of_the_whole_set(archive: Archive) -> None:
    everything = np.arange(len(archive.prints))
    (found,) = recognise.of_rows(archive, everything, views="default", floor=0.7)
    assert (found.one < found.other).all()
    assert len(set(zip(found.one, found.other, strict=True))) == len(found)
    of_the_first = found.where(found.one == 0)
    assert sorted(of_the_first.other) == [1, 2, 3, 4, 5]
    assert (found.other <= len(EDITS)).all()  # no other picture matches anything
    said = dict(zip(of_the_first.other, of_the_first.transforms(), strict=True))
    assert (said[1], said[4]) == ("none", "flip-horizontal")
    assert said[5] in ("rotate-90", "rotate-270")


@pytest.mark.parametrize(("edit", "views"), [(1, "fast"), (3, "fast"), (2, "default")])
def test_levels(archive: Archive, stored: Pictures, edit: int, views: Views) -> None:
    asked = stored.at(np.array([edit]))
    found = recognise.of_pictures(archive, asked, views=views, floor=0.7)
    assert 0 in found.other


def test_fast_tries_no_turns(archive: Archive, stored: Pictures) -> None:
    asked = stored.at(np.array([4]))
    assert 0 not in recognise.of_pictures(archive, asked, views="fast", floor=0.7).other
    assert 0 in recognise.of_pictures(archive, asked, views="default", floor=0.7).other


def test_a_mirrored_crop_takes_the_thorough_search(archive: Archive) -> None:
    asked = pictures([ImageOps.mirror(cropped(made(1), 0.3))])
    found = recognise.of_pictures(archive, asked, views="thorough", floor=0.7)
    assert 0 in found.other


def test_maps_say_where_a_crop_lies(archive: Archive, stored: Pictures) -> None:
    found = recognise.of_pictures(archive, stored.at(np.array([2])), views="default")
    (at,) = np.flatnonzero(found.other == 0)
    # The query is the archive's picture without its upper tenth and its right one.
    assert found.maps[at] @ (0.1, 0.0, 1) == pytest.approx([0, 0], abs=0.01)
    assert found.maps[at] @ (1.0, 0.9, 1) == pytest.approx([1, 1], abs=0.01)


def test_only_some_rows_are_found(archive: Archive, stored: Pictures) -> None:
    among = np.ones(len(stored), np.bool_)
    among[0] = False
    found = recognise.of_pictures(archive.only(among), stored.at(np.array([1])), views="fast")
    assert 0 not in found.other
    assert 1 in found.other


def test_an_identical_picture_has_distance_0(archive: Archive, stored: Pictures) -> None:
    found = recognise.of_pictures(archive, stored.at(np.array([9])), views="default")
    assert dict(zip(found.other.tolist(), found.distances.tolist(), strict=True))[9] == 0


def test_the_net_is_that_of_plain_distances(stored: Pictures, archive: Archive) -> None:
    tried = views.variants(
        *(stored.prints[:4], stored.grays[:4], stored.thumbs[:4]), views="default", parts=True
    )
    found = net.scan(archive.views, tried.codes, tried.owners, radius=0.8, most=1000)
    slots = np.flatnonzero(archive.views.live)
    expected: dict[tuple[int, int], float] = {}
    for owner, code in zip(tried.owners.tolist(), tried.codes, strict=True):
        apart = distances(VIEW, code[None], archive.views.take(slots))
        for slot, each in zip(slots.tolist(), apart.tolist(), strict=True):
            key = owner, slot // FINGERPRINT.slots
            if each <= 0.8:
                expected[key] = min(each, expected.get(key, 9))
    owners = tried.owners[found.variants].tolist()
    keys = zip(owners, found.rows.tolist(), strict=True)
    got = dict(zip(keys, found.distances.tolist(), strict=True))
    assert got == pytest.approx(expected, abs=1e-6)


def test_the_net_keeps_the_nearest(stored: Pictures, archive: Archive) -> None:
    tried = views.variants(
        *(stored.prints[:2], stored.grays[:2], stored.thumbs[:2]), views="fast", parts=False
    )
    every = net.scan(archive.views, tried.codes, tried.owners, radius=2.0, most=1000)
    few = net.scan(archive.views, tried.codes, tried.owners, radius=2.0, most=3)
    for owner in (0, 1):
        apart = every.distances[tried.owners[every.variants] == owner]
        kept = few.distances[tried.owners[few.variants] == owner]
        assert kept.tolist() == sorted(apart)[:3]


@pytest.mark.parametrize("views", ["fast", "default"])
def test_pairs_are_the_same_however_many_are_asked_at_once(
    archive: Archive, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = np.arange(len(archive.prints))

    def pairs() -> set[tuple[int, int]]:
        parts = recognise.of_rows(archive, everything, views=views, floor=0.7)
        return {pair for part in parts for pair in zip(part.one, part.other, strict=True)}

    at_once = pairs()
    monkeypatch.setattr(recognise, "_TOGETHER", 2)
    assert pairs() == at_once


def test_more_is_looked_at_as_long_as_it_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognise, "ROUNDS", (2, 3))
    some = pictures([made(1)] * 20 + [made(7)])
    everything = np.arange(len(some))
    parts = recognise.of_rows(archive_of(some), everything, views="fast", floor=0.9)
    found = {pair for part in parts for pair in zip(part.one, part.other, strict=True)}
    assert len(found) == 20 * 19 / 2
    hits = recognise.of_pictures(archive_of(some), some.at(everything[:1]), views="fast", floor=0.9)
    assert sorted(hits.other) == list(range(20))


def test_nothing_more_is_looked_at_for_what_is_judged_to_be_no_match(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recognise, "ROUNDS", (2, 5, 9))
    monkeypatch.setattr(recognise, "CHEAP", 5)
    some = pictures([made(1)] * 20)
    judged: list[int] = []

    def judge(found: Sightings, asked: Pictures | None) -> Flags:
        assert asked is not None
        judged.append(len(found))
        return np.zeros(len(found), np.bool_)

    cast = replace(recognise.SCAN, judge=judge)
    hits = recognise.of_pictures(archive_of(some), some.at(np.arange(2)), views="fast", cast=cast)
    assert judged == [6]  # the three after the first two of both, which score well
    assert len(hits) == 10


def test_scores_do_not_depend_on_who_asks(stored: Pictures, archive: Archive) -> None:
    everything = np.arange(len(stored))
    pairs: dict[tuple[int, int], float] = {}
    for part in recognise.of_rows(archive, everything, views="default", floor=0.7):
        pairs |= dict(zip(zip(part.one, part.other, strict=True), part.scores, strict=True))
    turned = stored.at(everything[::-1])
    for part in recognise.of_rows(archive_of(turned), everything, views="default", floor=0.7):
        last = len(stored) - 1
        for one, other, score in zip(part.one, part.other, part.scores, strict=True):
            assert score == pytest.approx(pairs[last - other, last - one], abs=1e-4)


def test_copies_come_along_with_what_stands_for_them(stored: Pictures) -> None:
    keys = np.zeros(len(stored), np.int64)
    keys[[0, 9, 10]] = 77  # as if they were the same picture
    archive = archive_of(stored, keys)
    found = recognise.of_pictures(archive, stored.at(np.array([1])), views="fast", floor=0.7)
    assert {0, 9, 10} <= set(found.other.tolist())
    everything = np.arange(len(stored))
    for part in recognise.of_rows(archive, everything, views="fast", floor=0.7):
        assert not {9, 10} & {*part.one.tolist(), *part.other.tolist()}


def test_the_very_same_picture_is_found_whatever_it_shows() -> None:
    blank = pictures([Image.new("RGB", (50, 50), "white")] * 2)
    archive = archive_of(blank, np.array([5, 6]))
    asked = blank.at(np.array([0]))
    assert recognise.of_pictures(archive, asked, views="fast").other.tolist() == []
    key = np.array([6])
    found = recognise.of_pictures(archive, asked, views="fast", keys=key)
    assert found.other.tolist() == [1]
    assert found.scores.tolist() == [1]


def test_pairs_the_other_way_round() -> None:
    maps = np.stack([fingerprints.turn_map(1), fingerprints.turn_map(5), fingerprints.WHOLE])
    looks = equal(np.arange(3), np.arange(3)).looks
    assert looks is not None
    looks = replace(looks, maps=maps)
    found = Sightings(np.arange(3), np.arange(3) + 5, np.zeros(3), maps, looks)
    swapped = found.swapped(np.array([True, True, False]))
    assert (swapped.one.tolist(), swapped.other.tolist()) == ([5, 6, 2], [0, 1, 7])
    assert swapped.looks is not None
    for each in (swapped.maps, swapped.looks.maps):
        assert np.allclose(each[0], fingerprints.turn_map(1))  # its own inverse
        assert np.allclose(each[1], fingerprints.turn_map(6))
        assert np.allclose(each[2], fingerprints.WHOLE)


def test_none_and_together() -> None:
    assert len(together([none(), none()])) == 0
    assert together([none()]).looks is not None


def test_a_real_photo_is_found_in_its_crop_and_the_other_way_round() -> None:
    whole, crop = photo(), cropped(photo(), 0.12)
    both = pictures([whole, crop])
    for one, other in ((0, 1), (1, 0)):
        archive = archive_of(both.at(np.array([other])))
        asked = both.at(np.array([one]))
        found = recognise.of_pictures(archive, asked, views="default", floor=0.8)
        assert found.other.tolist() == [0]
