"""Write the pictures on which the fingerprint is judged, and truth.csv (file, group, role) beside.

Two files of one group are a true pair. Pictures and files depend on kind and number only, never on
the day. Sets:

* attacks: the 52 edits of ../shared/bench/attacks.py of some photos, other photos beside;
* transformed: what imagededup's benchmark does to photos of UKBench, one photo an object: cut to
  7/8, flipped either way, turned by 25 degrees, squeezed to a square;
* views: UKBench itself, four photos an object from other sides, which are no copies;
* others: kinds of edits that attacks.py does not have; nothing may be trained on them;
* bursts, brackets: frames of one scene, made from large photos: same-scene, no edits;
* products: one object in several colours, on white: no edits of each other;
* pages, receipts, chats, slides: different ones that look alike;
* unrelated: photos, cliparts, icons, screenshots of packages that apt-get and npm know.

    scripts/accuracy_sets.py attacks /tmp/sets/attacks --originals 120
    scripts/accuracy_sets.py others /tmp/sets/others --photos ~/Photos --all-photos
    scripts/accuracy_sets.py bursts /tmp/sets/bursts --originals 100
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts import (
    accuracy_colours,
    accuracy_edits,
    accuracy_frames,
    accuracy_scenes,
    accuracy_tones,
    accuracy_unrelated,
    accuracy_writing,
)
from scripts.accuracy_picture import SUFFIXES, Picture, generator, write, write_truth
from scripts.bench_edits import load_attacks

SHARED = Path(os.environ.get("ANNIDX_SHARED", Path(__file__).parents[2] / "shared"))
EDITS = {**accuracy_edits.EDITS, **accuracy_frames.EDITS, **accuracy_tones.EDITS}
"""The edits of the set others that are made of pixels, by role."""


def held_out(path: str) -> bool:
    """Say whether a photo is for judging only; nothing may be trained on it.

    Parameters
    ----------
    path : str
        Relative to the folder of photos, with "/": about every fourth is held out.
    """
    return hashlib.sha1(path.encode()).hexdigest()[0] in "0123"


def chosen(photos: Path, *, everything: bool = False) -> list[Path]:
    """Return the photos of a folder that are held out, or all, in an order without meaning.

    The order is that of the SHA-1 of their paths: the first of them come from all folders.
    """
    names = {
        path.relative_to(photos).as_posix(): path
        for path in photos.rglob("*")
        if path.suffix.lower() in SUFFIXES
    }
    by_hash = sorted(names, key=lambda name: hashlib.sha1(name.encode()).hexdigest())
    return [names[name] for name in by_hash if everything or held_out(name)]


def attacks(out: Path, args: argparse.Namespace) -> dict[str, int]:
    """Write the edits of attacks.py of the first photos, and the next ones beside them."""
    photos, others = _split(args)
    with tempfile.TemporaryDirectory() as folder:
        for number, photo in enumerate(photos):
            link = Path(folder) / f"{number:04d}{photo.suffix.lower()}"
            link.symlink_to(photo.resolve())
        load_attacks().write_set(folder, out, len(photos))

    def rows() -> Iterator[tuple[str, str, str]]:
        for path in sorted(out.glob("g*__*")):
            group, role = path.stem.split("__")
            yield path.name, group, role
        for picture in beside(others):
            picture.image.save(out / picture.name, quality=95)
            yield picture.name, picture.group, picture.role

    return write_truth(out, rows())


def transformed(out: Path, args: argparse.Namespace) -> dict[str, int]:
    """Write the edits of imagededup's benchmark of the first photo of each object."""

    def pictures() -> Iterator[Picture]:
        for number, path in enumerate(_objects()[::4]):
            image, rng = _read(path), generator("transformed", "crop", number)
            edits = {
                "orig": image,
                "crop7/8": _seven_eighths(image, rng),
                "flip": ImageOps.mirror(image),
                "upside-down": ImageOps.flip(image),
                "turn25": image.rotate(25, Image.Resampling.BICUBIC),
                "square": image.resize((image.height, image.height)),
            }
            for role, edit in edits.items():
                name = f"g{number:04d}__{role.replace('/', '-')}.jpg"
                yield Picture(name, f"g{number:04d}", role, edit, {"quality": 95})

    return write(out, pictures())


def views(out: Path, args: argparse.Namespace) -> dict[str, int]:
    """Copy the photos of UKBench; those of one object are a group."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [Path(shutil.copy(path, out)) for path in _objects()]
    rows = ((path.name, f"object{number // 4:03d}", "view") for number, path in enumerate(paths))
    return write_truth(out, rows)


def _objects() -> list[Path]:
    """Return the photos of UKBench, four of each object, one object after the other."""
    return sorted((SHARED / "data" / "ukbench400").glob("*.jpg"))


def _seven_eighths(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = image.width * 7 // 8, image.height * 7 // 8
    left, top = rng.integers(image.width - width + 1), rng.integers(image.height - height + 1)
    return image.crop((int(left), int(top), int(left) + width, int(top) + height))


def others(out: Path, args: argparse.Namespace) -> dict[str, int]:
    """Write the other edits of the first photos, and the next ones beside them."""
    photos, unrelated = _split(args)

    def pictures() -> Iterator[Picture]:
        yield from edited(photos)
        yield from beside(unrelated)

    return write(out, pictures())


def edited(photos: Sequence[Path]) -> Iterator[Picture]:
    """Yield photos, all other edits of them, and collages of each with the next.

    A collage has a group of its own, "g0000+g0001", and the role "collage": it is related to both
    photos, and no edit of either.
    """
    for number, path in enumerate(photos):
        group = f"g{number:04d}"
        image = _read(path)
        yield Picture(f"{group}__orig.jpg", group, "orig", image, {"quality": 95})
        for role, edit in EDITS.items():
            changed = edit(image, generator("others", role, number))
            suffix = "png" if role in accuracy_tones.EXACT else "jpg"
            name = f"{group}__{role.replace(':', 'x')}.{suffix}"
            yield Picture(name, group, role, changed)
        for role, (suffix, options) in accuracy_tones.FILES.items():
            yield Picture(f"{group}__{role}{suffix}", group, role, image, options)
        after = (number + 1) % len(photos)
        if number % 4 == 0 and after:
            both = accuracy_frames.collage(image, _read(photos[after]))
            yield Picture(f"{group}__collage.jpg", f"{group}+g{after:04d}", "collage", both)


def beside(photos: Sequence[Path]) -> Iterator[Picture]:
    """Yield photos that are groups of their own, with the role "other"."""
    for number, path in enumerate(photos):
        name = f"other{number:04d}"
        yield Picture(f"{name}.jpg", name, "other", _read(path), {"quality": 95})


def bursts(out: Path, args: argparse.Namespace) -> dict[str, int]:
    """Write pairs of frames of one scene."""
    return write(out, accuracy_scenes.bursts(_large(args), args.originals))


def brackets(out: Path, args: argparse.Namespace) -> dict[str, int]:
    """Write brackets of exposure."""
    return write(out, accuracy_scenes.brackets(_large(args), args.originals))


def products(out: Path, args: argparse.Namespace) -> dict[str, int]:
    """Write drawn products, and with --photos as many cut-outs of a folder."""
    paths = sorted(args.photos.rglob("*.png")) if args.photos else []

    def pictures() -> Iterator[Picture]:
        yield from accuracy_colours.drawn(args.originals)
        yield from accuracy_colours.cut_outs(paths, args.originals)

    return write(out, pictures())


def writing(out: Path, args: argparse.Namespace) -> dict[str, int]:
    """Write different pictures of writing that look alike."""
    return write(out, accuracy_writing.writing(args.set, args.originals, copies=args.copies))


def unrelated(out: Path, args: argparse.Namespace) -> dict[str, int]:
    """Write pictures that have nothing to do with each other."""
    return accuracy_unrelated.write_unrelated(out, args.cache, SHARED / "data", tiles=args.tiles)


def _split(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Return the photos to edit, and those that stand beside them."""
    photos = args.photos or SHARED / "data" / "caltech"
    paths = chosen(photos, everything=args.all_photos)
    if len(paths) < args.originals:
        sys.exit(f"{photos}: {len(paths)} photos that are held out, {args.originals} are wanted")
    return paths[: args.originals], paths[args.originals : args.originals + args.others]


def _large(args: argparse.Namespace) -> list[Path]:
    """Return the folders of large photos: installed ones, and those unpacked for "unrelated"."""
    folders = [args.photos] if args.photos else [*accuracy_scenes.FOLDERS]
    if not args.photos:
        folders += [args.cache / name for name in accuracy_scenes.UNPACKED]
    if not accuracy_scenes.large_photos(folders):
        wanted = " ".join(accuracy_scenes.PACKAGES)
        sys.exit(f"no large photos in {', '.join(map(str, folders))}: apt-get install {wanted}")
    return folders


def _read(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


SETS: dict[str, Callable[[Path, argparse.Namespace], dict[str, int]]] = {
    "attacks": attacks,
    "transformed": transformed,
    "views": views,
    "others": others,
    "bursts": bursts,
    "brackets": brackets,
    "products": products,
    **dict.fromkeys(accuracy_writing.KINDS, writing),
    "unrelated": unrelated,
}


def default_cache() -> Path:
    """Return where unpacked packages are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "annidx-accuracy"


def main(words: Sequence[str] | None = None) -> int:
    """Write one set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", choices=SETS)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--originals", type=int, default=120, metavar="N", help="photos, scenes, objects"
    )
    parser.add_argument(
        "--others", type=int, default=200, metavar="N", help="photos beside the edited"
    )
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="photos, large photos or cut-outs"
    )
    parser.add_argument(
        "--all-photos", action="store_true", help="not only those that are held out"
    )
    parser.add_argument("--copies", action="store_true", help="of writing: also edited copies")
    parser.add_argument(
        "--tiles", action="store_true", help="of unrelated: also tiles of wallpapers"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", default=default_cache(), help="packages"
    )
    args = parser.parse_args(words)
    if args.out.exists() and any(args.out.iterdir()):
        parser.error(f"{args.out} is not empty")
    counts = SETS[args.set](args.out, args)
    for role, count in sorted(counts.items()):
        print(f"{role:20} {count:6}")
    print(f"{sum(counts.values())} pictures in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
