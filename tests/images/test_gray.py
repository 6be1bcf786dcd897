"""annidx.images.gray: the luma of what the thumb sees, and distances that tell photos apart."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from annidx.descriptors import GRAY8, GRAY16, GRAY20, THUMB, Descriptor
from annidx.images import decode
from annidx.images.compute import describe
from annidx.images.gray import gray, luma
from annidx.images.thumb import thumb
from annidx.search.selfjoin import pairs
from annidx.search.vectors import Vectors, distances
from tests.images.pictures import PHOTO, SHIPPED, STORE, encoded, noise, orientation_tag, photo

GRAYS = [GRAY8, GRAY16, GRAY20]
each_gray = pytest.mark.parametrize("metric", GRAYS, ids=lambda metric: metric.name)

Pixels = npt.NDArray[np.uint8]


def side_of(metric: Descriptor) -> int:
    return math.isqrt(metric.dimension)


def gray_of(metric: Descriptor, source: bytes | Image.Image | Pixels) -> Pixels:
    """Return the gray of a file's bytes or of pixels."""
    if isinstance(source, bytes):
        return gray(decode.decode(source), side_of(metric))
    return gray(decode.from_array(np.asarray(source)), side_of(metric))


def apart(metric: Descriptor, one: bytes | Image.Image, other: bytes | Image.Image) -> float:
    pair = gray_of(metric, one)[None], gray_of(metric, other)[None]
    return float(distances(metric, *pair)[0])


def test_luma_is_that_of_itu_r_601() -> None:
    colours = noise(400, 400)
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(luma(colours) - colours.astype(float) @ weights).max() <= 0.5 + 2e-3
    assert np.array_equal(luma(colours), np.asarray(Image.fromarray(colours).convert("L")))
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    assert luma(levels).tolist() == list(range(256))


@each_gray
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (20, 20), (7, 300), (211, 97)])
def test_it_is_resized_like_the_thumb_and_then_gray(
    metric: Descriptor, shape: tuple[int, int]
) -> None:
    pixels = noise(*shape)
    size = side_of(metric), side_of(metric)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    found = gray_of(metric, pixels)
    assert found.tobytes() == image.convert("L").tobytes()
    assert found.dtype == np.uint8
    assert found.shape == (metric.dimension,)


@pytest.mark.parametrize("path", sorted(SHIPPED.rglob("*.*g"))[:12], ids=lambda path: path.name)
def test_gray20_is_the_luma_of_the_thumb(path: Path) -> None:
    picture = decode.decode(path.read_bytes())
    assert np.array_equal(gray(picture, 20), luma(thumb(picture).reshape(-1, 3)))


@each_gray
def test_a_gray_picture_keeps_its_values(metric: Descriptor) -> None:
    side = side_of(metric)
    pixels = noise(side, side)[:, :, 0]
    assert np.array_equal(gray_of(metric, pixels), pixels.reshape(-1))  # in row order
    assert (gray_of(metric, np.full((37, 53), 201, np.uint8)) == 201).all()


@each_gray
@pytest.mark.parametrize("orientation", sorted(STORE))
def test_it_is_upright(metric: Descriptor, orientation: int) -> None:
    image = photo()
    turned = image.transpose(STORE[orientation])
    data = encoded(turned, "PNG", exif=orientation_tag(orientation))
    assert apart(metric, data, image) == 0.0


@each_gray
def test_colour_is_not_seen(metric: Descriptor) -> None:
    image = photo()
    assert apart(metric, image.convert("L").convert("RGB"), image) <= metric.dimension**0.5


# The cutoff: recompressed and resized pictures within it, unrelated ones beyond.


@each_gray
def test_copies_are_within_the_cutoff(metric: Descriptor) -> None:
    image = photo()
    original = PHOTO.read_bytes()
    for quality in (10, 30, 80):
        assert apart(metric, encoded(image, "JPEG", quality=quality), original) < metric.cutoff
    for width, height in ((96, 72), (240, 180), (960, 720), (360, 360)):
        assert apart(metric, image.resize((width, height)), original) < metric.cutoff


@pytest.fixture(scope="module")
def photos(shared: Path) -> dict[str, bytes]:
    """Descriptors of 1,400 photos of 100 categories, one after the other."""
    stored: dict[str, list[bytes]] = {name: [] for name in ("thumb", "gray8", "gray16", "gray20")}
    for path in sorted((shared / "data" / "caltech").rglob("*.jpg")):
        for name, value in describe(decode.decode(path.read_bytes()), stored).items():
            stored[name].append(value)
    return {name: b"".join(listed) for name, listed in stored.items()}


@each_gray
def test_real_photos_are_told_apart(metric: Descriptor, photos: dict[str, bytes]) -> None:
    """Its cutoff finds the few real near-duplicates that the thumb's finds, and no other pair."""
    assert near(metric, photos) == near(THUMB, photos)
    assert len(near(metric, photos)) == 9


def near(metric: Descriptor, photos: dict[str, bytes]) -> set[tuple[int, int]]:
    stored = np.frombuffer(photos[metric.name], np.uint8).reshape(-1, metric.width)
    found = pairs(Vectors(metric, [stored], np.ones(len(stored), np.bool_)), metric.cutoff)
    return set(zip(found.one.tolist(), found.other.tolist(), strict=True))


@each_gray
def test_worn_photos_are_found(metric: Descriptor, shared: Path) -> None:
    for path in sorted((shared / "data" / "caltech").rglob("*.jpg"))[::28]:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        half = image.resize((image.width // 2, image.height // 2))
        assert apart(metric, encoded(half, "JPEG", quality=30), image) < metric.cutoff


# What is in every index that holds them: should one change, raise the version in the registry.


@pytest.mark.parametrize(
    ("metric", "digest"),
    [
        (GRAY8, "6459947ef32c36668d1a4e3038ce9f0fed421465266e52b95e70d9cdfdb8814e"),
        (GRAY16, "b953f1b37629117d460189d4bbc3b4a50e46e1acd110741b52731895fa2737c5"),
        (GRAY20, "d7349965242b908c3373e79d87f0eda84eee252906bc0c7cf4350aee4a5e65ab"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_stored_values_of_a_shipped_picture(metric: Descriptor, digest: str) -> None:
    data = (SHIPPED / "downloads" / "rocket-launch.png").read_bytes()
    assert hashlib.sha256(gray_of(metric, data).tobytes()).hexdigest() == digest
