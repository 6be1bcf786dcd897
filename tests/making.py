"""What the tests make: vectors that are spread like those of photos, records, little pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from annidx.descriptors import DESCRIPTORS, THUMB, Descriptor
from annidx.images.signature import pack
from annidx.model import File, Record
from annidx.search.vectors import Stored, Vectors
from annidx.store import snapshot
from annidx.store.manifest import Kind, SegmentEntry
from annidx.store.segment import table_of

LONG_AGO_NS = 1_600_000_000_000_000_000
"""A modification time that is older than any read in a test."""


def thumbs(count: int, seed: int) -> Stored:
    """Return thumbs of unrelated photos, (count, 1200): a few low frequencies and some grain."""
    rng = np.random.default_rng(seed)
    x = (np.arange(20) + 0.5) * np.pi / 20
    waves = np.stack([np.cos(i * x) for i in range(4)])
    strength = 45.0 / (1 + np.add.outer(np.arange(4), np.arange(4)))
    mixed = rng.normal(size=(count, 3, 4, 4)) * strength
    pixels = np.einsum("ncij,iy,jx->nyxc", mixed, waves, waves) + rng.normal(
        0, 4, (count, 20, 20, 3)
    )
    return rounded(pixels.reshape(count, -1) + 128)


def signatures(count: int, seed: int) -> Stored:
    """Return signatures of unrelated photos as stored bytes, (count, 136)."""
    levels = np.random.default_rng(seed).choice(
        np.arange(-2, 3), (count, 272), p=[0.1, 0.25, 0.3, 0.25, 0.1]
    )
    return pack(levels.astype(np.int8))


def copies(descriptor: Descriptor, stored: Stored, seed: int, change: float = 3.0) -> Stored:
    """Return near-copies of stored vectors: grain of that size, or that many percent of levels."""
    rng = np.random.default_rng(seed)
    if descriptor is THUMB:
        return rounded(stored + rng.normal(0, change, stored.shape))
    fresh = signatures(len(stored), seed + 1)
    changed = np.array(stored, np.uint8)
    here = rng.random(stored.shape) * 100 < change
    changed[here] = fresh[here]
    return changed


def spread(descriptor: Descriptor, count: int, seed: int) -> Stored:
    """Return unrelated vectors of a metric."""
    return thumbs(count, seed) if descriptor is THUMB else signatures(count, seed)


def mixture(descriptor: Descriptor, count: int, seed: int) -> Stored:
    """Return `count` shuffled vectors: unrelated ones, near-copies, clusters, exact copies."""
    rng = np.random.default_rng(seed)
    half = spread(descriptor, count - count // 2, seed)
    whose = rng.integers(0, len(half), count // 4)
    near = copies(descriptor, half[whose], seed + 1)
    cluster = copies(descriptor, np.repeat(half[:1], count // 8, axis=0), seed + 2, change=5.0)
    equal = half[rng.integers(0, len(half), count - len(half) - len(near) - len(cluster))]
    together = np.concatenate([half, near, cluster, equal])
    return together[rng.permutation(count)]


def vectors(
    descriptor: Descriptor,
    stored: Stored,
    live: npt.NDArray[np.bool_] | None = None,
    *,
    cuts: Sequence[int] = (),
) -> Vectors:
    """Return stored vectors as an archive has them, cut into segments at `cuts`."""
    mask = np.ones(len(stored), np.bool_) if live is None else live
    return Vectors(descriptor, np.split(stored, cuts), mask)


def record(number: int, **changes: Any) -> Record:
    """Return a readable picture with random descriptors and likely facts."""
    path = changes.pop("path", b"folder/%06d.jpg" % number)
    file = File(1, path, 1000 + number, LONG_AGO_NS + number, 64, 5000 + number)
    rng = np.random.default_rng(number)
    stored = {each.name: rng.bytes(each.width) for each in DESCRIPTORS.values()}
    facts: dict[str, Any] = {
        "file": file,
        "read_ns": LONG_AGO_NS * 2,
        "status": "ok",
        "content_hash": rng.bytes(32),
        "pixel_hash": rng.bytes(32),
        "format": "JPEG",
        "width": 64,
        "height": 48,
        "descriptors": stored,
        "image_id": number,
    }
    return Record(**{**facts, **changes})


def failure(number: int, **changes: Any) -> Record:
    """Return a picture that could not be read."""
    facts = {"status": "unreadable", "error": "broken", "descriptors": {}}
    return record(number, **{**facts, **changes})


def add_segment(index: Path, records: Sequence[Record], kind: Kind) -> SegmentEntry:
    """Write records as a segment that no snapshot names yet."""
    return snapshot.add_table(index, table_of(records, kind), kind)


def photo(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Return a picture of smooth random colours: two seeds are far apart in every metric."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def grainy(image: Image.Image, seed: int, grain: float = 2.0) -> Image.Image:
    """Return a near-copy of a picture."""
    noise = np.random.default_rng(seed).normal(0, grain, (*image.size[::-1], 3))
    return Image.fromarray(rounded(np.asarray(image) + noise))


def save(path: Path, image: Image.Image, *, mtime_ns: int = LONG_AGO_NS) -> Path:
    """Save a picture with a modification time; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return aged(path, mtime_ns)


def aged(path: Path, mtime_ns: int = LONG_AGO_NS) -> Path:
    """Set the modification time of a file."""
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def rounded(values: npt.NDArray[np.floating[Any]]) -> Stored:
    """Return values as bytes."""
    clipped: Stored = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return clipped
