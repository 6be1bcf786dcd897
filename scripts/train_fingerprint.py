"""Learn the directions of the fingerprint from photos and edits of them, and write its weights.

    python -m scripts.train_fingerprint                       # writes annidx/fingerprint-1.npy
    python -m scripts.train_fingerprint --photos DIR --output weights.npy

Photos: three quarters of Caltech-101's in ANNIDX_SHARED (the last quarter, `held_out`, is for
judging only) and the wallpapers of Debian that are installed, whole and in four parts; or all of
the folders that --photos names. Edits are made here, at 80 x 80 pixels, at random under --seed:
tone, colour, blur, noise, uneven light, writing and labels laid over, and small moves. None of them
is taken from attacks.py or from accuracy_edits.py, which judge.

Method: linear discriminant analysis (Fisher 1936; Rao 1948). The directions are those in which
different photos lie apart furthest, measured by how far edits move a photo: the largest generalised
eigenvectors of the scatter between photos and the scatter within them, the latter with a ridge. All
scatter is averaged over the eight flips and quarter turns, so the directions' span is mapped into
itself by them (fingerprints.turned). 64 are kept, or one fewer where the last would tear a pair.

Some two minutes on two cores. The same photos and the same seed give the same weights.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from annidx import fingerprints
from scripts.accuracy_sets import SHARED, held_out

Floats = npt.NDArray[Any]
Wide = npt.NDArray[Any]

SIDE = 80
WALLPAPERS = ("/usr/share/backgrounds", "/usr/share/wallpapers")
PACKAGES = "gnome-backgrounds mate-backgrounds plasma-workspace-wallpapers"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
RIDGE = 0.05


def caltech() -> Iterator[Image.Image]:
    """Yield the photos of Caltech-101 that may be trained on."""
    folder = SHARED / "data" / "caltech"
    for path in sorted(folder.rglob("*.jpg")):
        if not held_out(path.relative_to(folder).as_posix()):
            yield Image.open(path).convert("RGB")


def wallpapers(folders: Sequence[str]) -> Iterator[Image.Image]:
    """Yield each wallpaper once, whole and in four parts: they are large enough."""
    seen = set()
    for path in sorted(file for folder in folders for file in Path(folder).rglob("*")):
        # A wallpaper comes in several sizes and shades: they share a folder, or a stem.
        name = path.parents[2].name if "contents" in path.parts else path.stem
        if path.suffix.lower() not in SUFFIXES or path.is_symlink() or name in seen:
            continue
        seen.add(name)
        image = Image.open(path).convert("RGB")
        width, height = image.size
        yield image
        for y in (0, height // 2):
            for x in (0, width // 2):
                yield image.crop((x, y, x + width // 2, y + height // 2))


def small(image: Image.Image) -> Floats:
    """Return a photo at 80 x 80 by area, (80, 80, 3) float32."""
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)


# ---------------------------------------------------------------------------------------- edits


def edited(photo: Floats, rng: np.random.Generator) -> Floats:
    """Return a photo after some random edits, (80, 80, 3) float32 in 0..255."""
    result = photo
    for chance, edit in STEPS:
        if rng.random() < chance:
            result = np.clip(edit(result, rng), 0, 255)
    grain = rng.normal(0, rng.choice([0.5, 1.0, 4.0]), result.shape)
    return np.clip(result + grain, 0, 255).astype(np.float32)


def moved(photo: Floats, rng: np.random.Generator) -> Floats:
    """Move, stretch and tilt by what is left when a view was aligned roughly."""
    stretch = 1 - rng.uniform(-0.045, 0.045, 2)
    shift = rng.uniform(-0.045, 0.045, 2)
    angle = np.radians(rng.normal(0, 1.6))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    maps = np.zeros((1, 2, 3), np.float32)
    maps[0, :, :2] = turn * stretch[:, None]
    maps[0, :, 2] = 0.5 - maps[0, :, :2].sum(axis=1) / 2 + shift
    planes = np.ascontiguousarray(photo.transpose(2, 0, 1))
    return fingerprints.sample(planes, np.repeat(maps, 3, axis=0), SIDE).transpose(1, 2, 0)


def blurred(photo: Floats, rng: np.random.Generator) -> Floats:
    """Blur by up to two of the 80 pixels."""
    return _blur(photo, rng.uniform(0.3, 2.0))


def sharpened(photo: Floats, rng: np.random.Generator) -> Floats:
    """Sharpen with a halo."""
    return photo + (photo - _blur(photo, 1.0)) * np.float32(rng.uniform(0.3, 2.0))


def toned(photo: Floats, rng: np.random.Generator) -> Any:
    """Change gamma, brightness, contrast, or spread the histogram."""
    luma = photo @ LUMA
    match rng.integers(0, 5):
        case 0:
            return 255 * (photo / 255) ** np.float32(np.exp(rng.uniform(-0.6, 0.6)))
        case 1:
            return photo * np.float32(rng.uniform(0.55, 1.45))
        case 2:
            return (photo - photo.mean()) * np.float32(rng.uniform(0.5, 1.6)) + photo.mean()
        case 3:
            ranks = np.argsort(np.argsort(luma, axis=None)).reshape(luma.shape)
            lift = ranks * np.float32(255 / luma.size) - luma
            return photo + lift[..., None] * np.float32(rng.uniform(0.3, 1.0))
        case _:
            low, high = np.percentile(photo, [2, 98])
            return (photo - np.float32(low)) / np.float32(max(high - low, 20.0)) * 255


def coloured(photo: Floats, rng: np.random.Generator) -> Any:
    """Change saturation, white balance or hue, or tint in two tones."""
    luma = (photo @ LUMA)[..., None]
    match rng.integers(0, 4):
        case 0:
            return luma + (photo - luma) * np.float32(rng.choice([0, 0, 0.5, 1.5, 2.0]))
        case 1:
            gains = [rng.uniform(0.8, 1.2), 1.0, rng.uniform(0.8, 1.2)]
            return photo * np.array(gains, np.float32)
        case 2:
            return luma + (photo - luma) @ _hue(np.radians(rng.uniform(-35, 35))).T
        case _:
            dark, light = rng.uniform([20, 10, 0], [60, 40, 30]), rng.uniform(180, 255, 3)
            return (dark + (light - dark) * luma / 255).astype(np.float32)


def lit(photo: Floats, rng: np.random.Generator) -> Floats:
    """Darken the corners, or let light fall in from one side."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    if rng.random() < 0.7:
        falling = 1 - rng.uniform(0.1, 0.5) * np.clip((y * y + x * x) / 1.6, 0, 1)
    else:
        falling = 1 + rng.uniform(-0.3, 0.3) * y + rng.uniform(-0.3, 0.3) * x
    return np.asarray(photo * falling[..., None], np.float32)


def written(photo: Floats, rng: np.random.Generator) -> Floats:
    """Lay up to three lines of something like writing over it, mostly near top and bottom."""
    result = photo.copy()
    for _ in range(rng.integers(1, 4)):
        height, width = rng.integers(2, 9), rng.integers(10, 75)
        y = rng.integers(0, 12) if rng.random() < 0.5 else rng.integers(60, SIDE - height)
        x = rng.integers(0, SIDE - width)
        ink = rng.choice([0, 255, 255]) + rng.normal(0, 10, 3)
        cover = rng.random((height, width, 1)) * rng.uniform(0.4, 1)
        part = result[y : y + height, x : x + width]
        result[y : y + height, x : x + width] = part * (1 - cover) + cover * ink
    return result


def labelled(photo: Floats, rng: np.random.Generator) -> Floats:
    """Stick a label of one colour into a corner."""
    result = photo.copy()
    height, width = rng.integers(8, 16, 2)
    y, x = (rng.choice([2, SIDE - size - 2]) for size in (height, width))
    result[y : y + height, x : x + width] = rng.integers(0, 255, 3)
    return result


STEPS = (
    (0.6, moved),
    (0.3, blurred),
    (0.2, sharpened),
    (0.7, toned),
    (0.5, coloured),
    (0.25, lit),
    (0.3, written),
    (0.15, labelled),
)


def _blur(photo: Floats, sigma: float) -> Floats:
    at = np.arange(SIDE)
    kernel = np.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.asarray(np.einsum("ij,jkc,lk->ilc", kernel, photo, kernel, optimize=True))


def _hue(angle: float) -> Wide:
    """Return a rotation of colours about gray, (3, 3)."""
    w = np.full(3, 3**-0.5)
    across = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
    turned = np.cos(angle) * np.eye(3) + np.sin(angle) * across
    return np.asarray((turned + (1 - np.cos(angle)) * np.outer(w, w)).astype(np.float32))


# ------------------------------------------------------------------------------------- learning


def featured(photos: Floats) -> Floats:
    """Return the features of photos, (n, 80, 80, 3) float32; (n, 600)."""
    luma = photos @ LUMA
    gray = _averaged(luma, fingerprints.SIDE)
    colour = [
        _averaged(photos[..., channel] - luma, fingerprints.CHROMA_SIDE) for channel in (2, 0)
    ]
    return fingerprints.features(gray, np.stack(colour, axis=1))


def _averaged(planes: Floats, side: int) -> Floats:
    step = SIDE // side
    return np.asarray(planes.reshape(-1, side, step, side, step).mean(axis=(2, 4)))


def learned(originals: Floats, edits: Sequence[Floats]) -> tuple[Wide, Wide, Wide]:
    """Return directions (64, 600), the mean (600,), and how well each direction tells photos.

    Parameters
    ----------
    originals : (n, 600)
    edits : Sequence of (n, 600)
    """
    features = originals.shape[1]
    between, within = np.zeros((features, features)), np.zeros((features, features))
    turns = range(fingerprints.TURNS)
    mean = np.mean(
        [fingerprints.turned_features(originals, turn).mean(axis=0) for turn in turns], axis=0
    )
    for turn in turns:
        turned = fingerprints.turned_features(originals, turn).astype(np.float64)
        between += _scatter(turned - mean)
        for each in edits:
            within += _scatter(fingerprints.turned_features(each, turn) - turned) / len(edits)
    within += np.eye(features) * RIDGE * np.trace(within) / features
    # between v = w within v, by way of within = L L^T.
    inverse = np.linalg.inv(np.linalg.cholesky(within))
    values, vectors = np.linalg.eigh(inverse @ between @ inverse.T)
    order = np.argsort(-values)[: fingerprints.DIMENSION + 1]
    values, directions = values[order], vectors[:, order].T @ inverse
    last = fingerprints.DIMENSION
    if values[last - 1] - values[last] < 1e-6 * values[last]:
        directions[last - 1] = 0  # one of a pair that turns mix: half of it is none
    return directions[:last], mean, values[:last]


def _scatter(rows: npt.NDArray[np.floating]) -> Wide:
    wide = rows.astype(np.float64)
    return np.asarray(wide.T @ wide / len(wide))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and write; return the exit code."""
    args = parser().parse_args(arguments)
    if args.photos:
        paths = sorted(file for folder in args.photos for file in Path(folder).rglob("*"))
        found = (Image.open(p).convert("RGB") for p in paths if p.suffix.lower() in SUFFIXES)
        photos = np.stack([small(image) for image in found])
    else:
        parts = [
            [small(image) for image in source] for source in (caltech(), wallpapers(WALLPAPERS))
        ]
        if not all(parts):
            names = f"Caltech-101 in ANNIDX_SHARED and wallpapers (apt-get install {PACKAGES})"
            print(f"train_fingerprint: nothing to train on: expected {names}", file=sys.stderr)
            return 1
        photos = np.stack([*parts[0], *parts[1]])
        print(f"{len(parts[0])} photos, {len(parts[1])} wallpapers and parts of them")
    rng = np.random.default_rng(args.seed)
    edits = []
    for number in range(args.edits):
        edits.append(featured(np.stack([edited(photo, rng) for photo in photos])))
        print(f"\r{number + 1} of {args.edits} edits of each", end="", flush=True)
    directions, mean, values = learned(featured(photos), edits)
    weights = np.concatenate([directions, mean[None]]).astype(np.float32)
    # Directions keep their sign from run to run.
    signs = np.sign(weights[:-1][np.arange(len(directions)), np.abs(directions).argmax(axis=1)])
    weights[:-1] *= np.where(signs == 0, 1, signs)[:, None]
    np.save(args.output, weights)
    print(f"\nbetween / within: first {values[0]:.1f}, 64th {values[-1]:.2f}; wrote {args.output}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of this script's command line."""
    description, _, rest = (__doc__ or "").partition("\n\n")
    result = argparse.ArgumentParser(
        prog="train_fingerprint",
        description=description,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    default = Path(__file__).parents[1] / "annidx" / "fingerprint-1.npy"
    result.add_argument("--photos", nargs="+", metavar="DIR", help="train on these folders instead")
    result.add_argument("--edits", type=int, default=10, help="of each photo (default 10)")
    result.add_argument("--seed", type=int, default=1, help="of the random edits (default 1)")
    result.add_argument("--output", type=Path, default=default, metavar="FILE")
    return result


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
    raise SystemExit(main())
