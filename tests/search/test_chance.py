"""annidx.search.chance: what is predicted is what comes, whatever true pairs are among it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from annidx.search import chance
from annidx.search.calibration import Sample, fit
from annidx.search.chance import BENDS, PAIRS, PRIORS, Chance, proofs
from annidx.search.chance import strengths as strengths_of
from annidx.search.tails import LEAST, fitted
from tests.pages import letter, typed_page

PHOTO, SIMPLE, WRITING, PLAIN = range(4)
BLOCKS = 48.0
DISTANCE = 0.6
"""One that proves nothing."""
TRUST = math.sqrt(BLOCKS / (BLOCKS + chance.FEW))

Floats = npt.NDArray[np.float64]


def scored(strength: Floats | float, kind: int) -> Floats:
    """Return the scores of matches of two pictures of a class."""
    bend = BENDS[PAIRS.index((kind, kind))]
    return np.asarray(np.tanh(LEAST * (np.asarray(strength) / LEAST) ** (1 / bend) / TRUST))


def sampled(
    count: int,
    tails: dict[int, tuple[float, float]],
    *,
    sample: int = 1000,
    copies: int = 1,
    seed: int = 5,
) -> Sample:
    """Make matches of an archive of some classes, a stripe each, with tails from LEAST on.

    `tails` are the rate at LEAST and the scale of each class; classes never match one another.
    Pictures come in groups of `copies`, of which most pairs agree well and some hardly.
    """
    rng = np.random.default_rng(seed)
    kinds = np.array(sorted(tails), np.int8)[(np.arange(count) // copies) % len(tails)]
    rows = np.sort(rng.permutation(count)[:sample])
    ones, others, scores = [], [], []
    for kind, (rate, scale) in tails.items():
        mine, all_of_it = rows[kinds[rows] == kind], np.flatnonzero(kinds == kind)
        found = rng.poisson(rate * len(mine) * len(all_of_it))
        ones.append(rng.choice(mine, found))
        others.append(rng.choice(all_of_it, found))
        scores.append(scored(LEAST + rng.exponential(scale, found), kind))
    if copies > 1:
        one = np.repeat(rows, copies)
        other = (rows[:, None] // copies * copies + np.arange(copies)).ravel()
        ones.append(one[one != other])
        others.append(other[one != other])
        scores.append(np.tanh(np.clip(rng.normal(1.9, 0.5, len(ones[-1])), 0.5, 4) / TRUST))
    one, other, found_scores = map(np.concatenate, (ones, others, scores))
    same = one // copies == other // copies
    keep = (one != other) & (~same | (np.arange(len(one)) >= len(one) - len(ones[-1])))
    one, other, kept = one[keep], other[keep], found_scores[keep]
    blocks, distances = np.full(len(one), BLOCKS), np.full(len(one), DISTANCE)
    return Sample(rows, kinds[rows], one, other, kept, blocks, distances, kinds[one], kinds[other])


def rate(model: Chance, strength: float, kind: int) -> float:
    tail = model.tails[PAIRS.index((kind, kind))]
    return float(tail.rates(np.array([strength]))[0])


def strength_at(tail: tuple[float, float], rate: float) -> float:
    return LEAST + tail[1] * math.log(tail[0] / rate)


def of(model: Chance, score: float, kinds: tuple[int, int], pictures: int | None = None) -> float:
    one, other = (np.array([kind], np.int8) for kind in kinds)
    at = np.array([score]), np.array([BLOCKS]), np.array([DISTANCE])
    return float(model.chance(*at, one, other, pictures=pictures)[0])


@pytest.mark.parametrize("copies", [1, 2, 10])
@pytest.mark.parametrize("tail", [(4e-4, 0.15), (1e-3, 0.18)])
def test_rates_are_those_of_the_unrelated_pairs(copies: int, tail: tuple[float, float]) -> None:
    model = fit(sampled(4000, {PHOTO: tail}, copies=copies), 4000)
    for wanted in (1e-5, 1e-6, 1e-7):
        found = rate(model, strength_at(tail, wanted), PHOTO)
        assert wanted / 3 < found < wanted * 3, (copies, wanted, found)


def test_classes_have_tails_of_their_own() -> None:
    tails = {PHOTO: (2e-4, 0.15), WRITING: (2e-3, 0.22)}
    model = fit(sampled(4000, tails, copies=2), 4000)
    for kind, tail in tails.items():
        for wanted in (1e-5, 1e-6, 1e-7):
            found = rate(model, strength_at(tail, wanted), kind)
            assert wanted / 3 < found < wanted * 3, (kind, wanted, found)
    assert of(model, 0.75, (WRITING, WRITING)) > 10 * of(model, 0.75, (PHOTO, PHOTO))


def test_a_limit_on_the_chance_is_the_number_of_false_pairs_of_all_classes() -> None:
    tails = {PHOTO: (2e-4, 0.15), WRITING: (2e-3, 0.22)}
    model = fit(sampled(3000, tails, sample=3000), 3000)
    fresh = sampled(3000, tails, sample=3000, seed=6)
    looks = fresh.scores, fresh.structures, fresh.distances
    found = model.chance(*looks, fresh.classes_one, fresh.classes_other)
    for limit in (30.0, 300.0):
        assert limit / 3 < (found <= limit).sum() / 2 < limit * 1.5  # each was asked twice


def test_small_archives_rest_on_what_was_known_before() -> None:
    small = fit(sampled(2, {PHOTO: (0.0, 0.05)}, sample=2), 2)
    for known, tail in zip(PRIORS.values(), small.tails, strict=True):
        assert tail.rate == pytest.approx(known[0], rel=0.01)
        assert tail.scale == pytest.approx(known[1], rel=0.01)
    assert of(small, 0.9, (PHOTO, PHOTO)) < 1 < of(small, 0.9, (PHOTO, PHOTO), 10**7)


def test_chances_are_no_smaller_than_what_was_seen() -> None:
    none = fit(sampled(300, {PHOTO: (0.0, 0.05)}, sample=300), 300)
    some = fit(sampled(300, {PHOTO: (2e-2, 0.07)}, sample=300), 300)
    assert rate(some, LEAST, PHOTO) > 1.2e-2
    assert rate(none, LEAST, PHOTO) < PRIORS[0, 0][0]
    assert rate(some, 1.0, PHOTO) > 5 * rate(none, 1.0, PHOTO)


def test_chances_fall_with_the_score_and_grow_with_the_archive() -> None:
    model = fit(sampled(2000, {PHOTO: (1e-3, 0.05), WRITING: (3e-3, 0.08)}), 2000)
    scores = np.linspace(0, 1, 200)
    kinds = np.full(200, PHOTO, np.int8)
    found = model.chance(scores, np.full(200, BLOCKS), np.full(200, DISTANCE), kinds, kinds)
    assert (np.diff(found) <= 0).all()
    assert found[-1] < 1e-9
    assert found[0] > 1e4
    few = model.chance(scores, np.full(200, 6.0), np.full(200, DISTANCE), kinds, kinds)
    assert (few >= found).all()  # few independent values prove less
    assert (few[160:] > found[160:]).all()
    larger = of(model, 0.8, (PHOTO, PHOTO), 20_000) / of(model, 0.8, (PHOTO, PHOTO))
    assert larger == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize("kinds", PAIRS)
def test_nearer_pictures_match_less_often_by_chance(kinds: tuple[int, int]) -> None:
    one, other = (np.full(5, kind, np.int8) for kind in kinds)
    distances = np.array([0.0, 0.3, DISTANCE, 0.9, 1.0])
    model = Chance.beforehand(np.array([0, 1, 2, 3], np.int8), 1000)
    found = model.chance(np.full(5, 0.8), np.full(5, BLOCKS), distances, one, other)
    assert (np.diff(found) > 0).all()
    assert of(model, 0.8, kinds) == pytest.approx(found[2])


def test_nearness_of_what_has_no_structure_proves_nothing() -> None:
    at = np.ones(2), np.array([0.0, BLOCKS]), np.zeros(2)
    proven = proofs(*at, np.full(2, PAIRS.index((PLAIN, PLAIN))))
    assert proven[0] == 0 < proven[1]


def test_what_the_sample_cannot_show_is_extrapolated() -> None:
    tail = (1e-3, 0.05)
    model = fit(sampled(4000, {PHOTO: tail}), 4000)
    seen, unseen = (float(scored(strength_at(tail, each), PHOTO)) for each in (1e-5, 1e-8))
    kinds = np.full(2, PHOTO, np.int8)
    looks = np.array([seen, unseen]), np.full(2, BLOCKS), np.full(2, DISTANCE)
    assert model.extrapolated(*looks, kinds, kinds).tolist() == [False, True]
    rare = np.full(2, SIMPLE, np.int8)
    assert model.extrapolated(*looks, rare, rare).all()


def test_look_alikes_count_once_however_many_edits_there_are_of_both() -> None:
    tail, edits = (1e-3, 0.16), 60
    made = sampled(4000, {PHOTO: tail}, sample=400)
    rows = np.arange(4000, 4000 + 2 * edits)
    one, other = (each.ravel() for each in np.meshgrid(rows, rows, indexing="ij"))
    one, other = one[one != other], other[one != other]
    alike = (one < 4000 + edits) != (other < 4000 + edits)
    proven = np.where(alike, np.random.default_rng(2).normal(0.9, 0.1, len(one)), 2.2)
    same, count = np.zeros(len(one), np.int8), len(one)
    added = replace(
        made,
        rows=np.concatenate([made.rows, rows]),
        classes=np.zeros(len(made.rows) + len(rows), np.int8),
        ones=np.concatenate([made.ones, one]),
        others=np.concatenate([made.others, other]),
        scores=np.concatenate([made.scores, np.tanh(proven / TRUST)]),
        structures=np.full(len(made.ones) + count, BLOCKS),
        distances=np.full(len(made.ones) + count, DISTANCE),
        classes_one=np.concatenate([made.classes_one, same]),
        classes_other=np.concatenate([made.classes_other, same]),
    )
    before, after = fit(made, 4000), fit(added, 4000 + 2 * edits)
    for wanted in (1e-5, 1e-6, 1e-7):
        strength = strength_at(tail, wanted)
        assert rate(after, strength, PHOTO) < 1.3 * rate(before, strength, PHOTO)


def test_slides_of_one_template_are_not_taken_for_copies() -> None:
    rng = np.random.default_rng(8)
    rows, strengths = np.arange(100), rng.normal(1.35, 0.12, (100, 600))
    one, other = (each.ravel() for each in np.meshgrid(rows, np.arange(600), indexing="ij"))
    scores, apart = np.tanh(strengths.ravel() / TRUST), one != other
    one, other, scores = one[apart], other[apart], scores[apart]
    looks = scores, np.full(len(one), BLOCKS), np.full(len(one), DISTANCE)
    same = np.zeros(len(one), np.int8)
    model = fit(Sample(rows, np.zeros(100, np.int8), one, other, *looks, same, same), 600)
    for proven, wanted in ((1.72, 1e-3), (1.80, 1e-4)):
        strength = float(strengths_of(np.array([proven]), np.zeros(1, np.intp))[0])
        assert wanted / 3 < rate(model, strength, PHOTO) < wanted * 10


def test_a_model_goes_through_json() -> None:
    model = fit(sampled(2000, {PHOTO: (1e-3, 0.05)}), 2000)
    stored = json.loads(json.dumps(model.as_dict()))
    assert Chance.of_dict(stored) == model
    assert Chance.of_dict({**stored, "version": 0}) is None
    assert Chance.of_dict(None) is None
    assert model != replace(model, pictures=3)


def test_nothing_of_it_depends_on_the_order_of_the_matches() -> None:
    made = sampled(3000, {PHOTO: (1e-3, 0.05)}, copies=5)
    order = np.random.default_rng(1).permutation(len(made.ones))
    columns = ("ones", "others", "scores", "structures", "distances")
    mixed = replace(
        made,
        **{name: getattr(made, name)[order] for name in columns},
        classes_one=made.classes_one[order],
        classes_other=made.classes_other[order],
    )
    one, other = fit(made, 3000), fit(mixed, 3000)
    for tail, again in zip(one.tails, other.tails, strict=True):
        assert tail.scale == pytest.approx(again.scale, rel=1e-6)


def test_below_what_was_counted_nothing_is_told() -> None:
    model = Chance.beforehand(np.zeros(40, np.int8), 40)
    zeros = np.zeros(2, np.int8)
    looks = np.array([0.6, 0.8]), np.full(2, 10.0), np.full(2, chance._FAR)
    weak, strong = model.chance(*looks, zeros, zeros)
    assert weak > 100  # of 780 pairs: so smooth ones may agree as well
    assert strong > 100
    detailed = model.chance(looks[0], np.full(2, 60.0), looks[2], zeros, zeros)
    assert detailed[1] < 0.1


def stored(image: Image.Image) -> npt.NDArray[np.uint8]:
    gray = image.convert("RGB").convert("L").resize((64, 64), Image.Resampling.BOX)
    return np.asarray(gray).reshape(1, -1)


def waves(seed: int) -> Image.Image:
    """Return something as varied as a photo."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (14, 14, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((400, 300), Image.Resampling.BICUBIC))
    grained = smooth + rng.normal(0, 30, smooth.shape)
    return Image.fromarray(grained.clip(0, 255).astype(np.uint8))


def drawing() -> Image.Image:
    image = Image.new("RGB", (300, 300), "white")
    image.paste(waves(4).resize((200, 150)), (50, 60))
    return image


def figure() -> Image.Image:
    """Return nested squares: much contrast, and nothing to tell them from others by."""
    image = Image.new("L", (256, 256), 255)
    for number in range(4):
        inset = 16 + 32 * number
        image.paste(255 * (number % 2), (inset, inset, 256 - inset, 256 - inset))
    return image


def test_classes_of_pictures() -> None:
    rng = np.random.default_rng(3)
    grain = Image.fromarray(rng.normal(120, 3, (200, 200)).clip(0, 255).astype(np.uint8))
    made = {PHOTO: waves(1), SIMPLE: drawing(), WRITING: typed_page(3), PLAIN: grain}
    for kind, image in made.items():
        assert chance.classes(stored(image)).tolist() == [kind], chance.CLASSES[kind]
    flat = Image.new("RGB", (50, 50), (200, 30, 30))
    assert chance.classes(stored(flat)).tolist() == [PLAIN]
    assert chance.classes(stored(figure())).tolist() == [PLAIN]
    assert chance.classes(stored(letter(4))).tolist() == [WRITING]
    assert len(chance.classes(np.zeros((0, 4096), np.uint8))) == 0


def test_what_is_known_beforehand() -> None:
    found = np.array([0] * 60 + [2] * 40, np.int8)
    model = Chance.beforehand(found, 1000)
    assert model.shares == pytest.approx((60.5 / 102, 0.5 / 102, 40.5 / 102, 0.5 / 102))
    scores = np.array([0.6, 0.8, 0.95, 0.99])
    seen = np.full(4, 56.0), np.full(4, DISTANCE)
    zeros = np.zeros(4, np.int8)
    told = model.chance(scores, *seen, zeros, zeros)
    assert (np.diff(told) < 0).all()
    assert told[0] > 1 > told[-1]
    larger = model.chance(scores, *seen, zeros, zeros, pictures=100_000)
    assert (larger > told).all()
    assert model.extrapolated(scores, *seen, zeros, zeros).all()


def test_one_match_among_few_pairs_is_no_proof_that_such_are_common() -> None:
    """Sixty slides of a template are one; two like photos of three plain ones are not."""
    known, end = (1e-4, 0.2), 2.0
    one = fitted(np.array([0.7]), np.ones(1), 20.0, known, end)
    many = fitted(np.linspace(0.56, 0.9, 12), np.ones(12), 20.0, known, end)
    assert one.rate < 2 * known[0]
    assert many.rate > 0.05
