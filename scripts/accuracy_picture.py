"""What the sets of accuracy_sets.py are made of: a picture and what is known of it.

Owns how a picture gets into a folder with a truth.csv. Knows nothing of how pictures are made.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
"""What is taken as a picture in a folder of photos."""

Pixels = npt.NDArray[np.float32]
"""(height, width, 3), levels from 0 to 255."""


Edit = Callable[[Image.Image, np.random.Generator], Image.Image]
"""How a picture is edited: RGB in, RGB out."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a set.

    Attributes
    ----------
    name : str
        Of its file, suffix included.
    group : str
        Two pictures of one group are a true pair.
    role : str
        Which edit or class it is.
    image : PIL.Image.Image
    options : mapping
        What is given to ``Image.save``: quality, exif.
    """

    name: str
    group: str
    role: str
    image: Image.Image
    options: Mapping[str, Any] = field(default_factory=dict)


def write(out: Path, pictures: Iterable[Picture]) -> dict[str, int]:
    """Write pictures into a folder, and truth.csv beside them; return how many of each role."""

    def rows() -> Iterator[tuple[str, str, str]]:
        for each in pictures:
            lossy = Path(each.name).suffix in (".jpg", ".jpeg")
            options = {"quality": 90, **each.options} if lossy else each.options
            each.image.save(out / each.name, **options)
            yield each.name, each.group, each.role

    out.mkdir(parents=True, exist_ok=True)
    return write_truth(out, rows())


def write_truth(out: Path, rows: Iterable[tuple[str, str, str]]) -> dict[str, int]:
    """Write truth.csv (file, group, role) as the rows come; return how many of each role."""
    counts: dict[str, int] = {}
    with (out / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "group", "role"))
        for row in rows:
            writer.writerow(row)
            counts[row[2]] = counts.get(row[2], 0) + 1
    return counts


def generator(*key: str | int) -> np.random.Generator:
    """Return the randomness of one thing, the same on every machine and day."""
    words = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(list(words[:16]))


def as_image(levels: npt.NDArray[Any]) -> Image.Image:
    """Return levels, (height, width, 3) or (height, width), as a picture, rounded and clipped."""
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def as_levels(image: Image.Image) -> Pixels:
    """Return the levels of a picture."""
    return np.asarray(image.convert("RGB"), np.float32)


def fitted(image: Image.Image, longest: int) -> Image.Image:
    """Return a picture reduced to that longest side, in pixels; smaller ones stay as they are."""
    share = longest / max(image.size)
    if share >= 1:
        return image
    size = max(1, round(image.width * share)), max(1, round(image.height * share))
    return image.resize(size, Image.Resampling.LANCZOS)
