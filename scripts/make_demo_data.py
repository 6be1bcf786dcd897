"""Make the edited pictures of the demo archive, ``data/pictures``, from its originals.

The archive looks like somebody's folders of photographs: the originals lie among their edits,
exact copies, a broken file and files that are no pictures.  The originals are committed and
only read; every other file is written here, and so is the table ``data/ground_truth.csv``.

Nothing is drawn at random, so the same Pillow version always writes the same bytes::

    python scripts/make_demo_data.py            # write the edits and the ground truth
    python scripts/make_demo_data.py --check    # compare the tree with them; write nothing

``--check`` exits with 1 and names what is missing, unexpected or different.  As another version
of an encoder may write other bytes, pictures whose bytes differ are compared by their pixels,
within a tolerance; what no encoder wrote must be identical.
"""

import argparse
import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps

DATA = Path(__file__).resolve().parent.parent / "data"
PICTURES, TRUTH = DATA / "pictures", DATA / "ground_truth.csv"
ORIENTATION = ExifTags.Base.Orientation
TOLERANCE = 2.0  # largest mean difference of 8-bit pixel values that --check lets pass

TRAIL, MEADOW = "2019-holiday/picos-trail.jpg", "2019-holiday/aitzgorri-meadow.jpg"
SUNSET, STREAM = "2019-holiday/summit-sunset.jpg", "2019-holiday/forest-stream.jpg"
DOGS, COFFEE = "2019-holiday/DSC_0412.JPG", "2020-home/coffee.jpg"
FIG, BRUSHES = "2020-home/fig-bowl.jpg", "2020-home/paint brushes.jpg"
WINE, ROCKET = "2020-home/wine-corner.jpg", "downloads/rocket-launch.jpg"
DANDELION, CAT = "phone/IMG_20200517_193011.jpg", "phone/IMG_20200602_081402.jpg"
ASTRONAUT, GALAXIES = "downloads/astronaut-portrait.jpeg", "downloads/hubble-deep-field.jpg"
BRICKS, CAMERAMAN = "scans/brick-wall.jpg", "scans/cameraman.jpg"
PAGE, NOTES = "downloads/mountains-4k.jpg", "notes.txt"


class Recipe(NamedTuple):
    """One file of the archive: its path, its original's path, the edit, and the edit's text."""

    file: str
    original: str
    edit: str
    text: str = ""


UNRELATED = [ASTRONAUT, GALAXIES, BRICKS, CAMERAMAN]  # nothing is made from these
RECIPES = (
    Recipe("exports/web/picos-trail.jpg", TRAIL, "resized"),
    Recipe("exports/web/forest-stream.jpg", STREAM, "resized"),
    Recipe("exports/web/dogs.jpg", DOGS, "resized"),
    Recipe("exports/web/coffee_small.jpg", COFFEE, "resized"),
    Recipe("exports/web/rocket-240.jpg", ROCKET, "resized"),
    Recipe("exports/web/cat-thumb.jpg", CAT, "resized"),
    Recipe("phone/IMG-20190822-WA0004.jpg", TRAIL, "recompressed"),
    Recipe("phone/IMG-20200105-WA0001.jpg", FIG, "recompressed"),
    Recipe("phone/IMG-20200111-WA0007.jpg", WINE, "recompressed"),
    Recipe("phone/IMG-20200518-WA0003.jpg", DANDELION, "recompressed"),
    Recipe("phone/IMG-20200602-WA0002.jpg", CAT, "recompressed"),
    Recipe("2019-holiday/edited/aitzgorri-meadow-bright.jpg", MEADOW, "brightened"),
    Recipe("2019-holiday/edited/summit-sunset-bright.jpg", SUNSET, "brightened"),
    Recipe("2019-holiday/edited/DSC_0412 brighter.jpg", DOGS, "brightened"),
    Recipe("2020-home/coffee-edit.jpg", COFFEE, "brightened"),
    Recipe("2019-holiday/edited/picos-trail-bw.jpg", TRAIL, "grayscaled"),
    Recipe("2019-holiday/edited/forest-stream-bw.jpg", STREAM, "grayscaled"),
    Recipe("2020-home/wine-corner-bw.jpg", WINE, "grayscaled"),
    Recipe("phone/IMG_20200602_081402_MONO.jpg", CAT, "grayscaled"),
    Recipe("2019-holiday/edited/aitzgorri-meadow-crop.jpg", MEADOW, "cropped"),
    Recipe("2019-holiday/edited/forest-stream-crop.jpg", STREAM, "cropped"),
    Recipe("2020-home/fig-bowl-crop.jpg", FIG, "cropped"),
    Recipe("phone/IMG_20200517_193011_crop.jpg", DANDELION, "cropped"),
    Recipe("downloads/wallpaper-rocket.jpg", ROCKET, "cropped"),
    Recipe("2019-holiday/edited/summit-sunset-mirrored.jpg", SUNSET, "flipped"),
    Recipe("2020-home/coffee-mirrored.jpg", COFFEE, "flipped"),
    Recipe("2020-home/paint brushes flipped.jpg", BRUSHES, "flipped"),
    Recipe("phone/selfie-with-cat.jpg", CAT, "flipped"),
    Recipe("exports/prints/aitzgorri-meadow-framed.jpg", MEADOW, "framed"),
    Recipe("exports/prints/summit-sunset-framed.jpg", SUNSET, "framed"),
    Recipe("exports/prints/fig-bowl-framed.jpg", FIG, "framed"),
    Recipe("exports/prints/rocket-framed.jpg", ROCKET, "framed"),
    Recipe("exports/cards/greetings-from-picos.jpg", TRAIL, "captioned", "Picos de Europa"),
    Recipe("exports/cards/who-is-there.jpg", DOGS, "captioned", "Who is there?"),
    Recipe("exports/cards/monday.jpg", COFFEE, "captioned", "Monday again"),
    Recipe("exports/cards/make-a-wish.jpg", DANDELION, "captioned", "Make a wish"),
    Recipe("downloads/rocket-launch.png", ROCKET, "png"),
    Recipe("exports/web/summit-sunset.webp", SUNSET, "webp"),
    Recipe("exports/web/forest-stream.webp", STREAM, "webp"),
    Recipe("exports/web/brushes.webp", BRUSHES, "webp"),
    Recipe("backup/2019/picos-trail.jpg", TRAIL, "copy"),
    Recipe("backup/phone/IMG_20200602_081402.jpg", CAT, "copy"),
    Recipe("backup/2019/DSC_0409.JPG", MEADOW, "orientation"),
    Recipe("phone/IMG_20200111_201530.jpg", WINE, "orientation"),
    Recipe("2020-home/fig-bowl-tagged.jpg", FIG, "metadata", "A fig on a red plate"),
    Recipe("2020-home/paint brushes (tagged).jpg", BRUSHES, "metadata", "Brushes, to be sorted"),
    Recipe("phone/IMG_20200517_193011(1).jpg", DANDELION, "metadata", "Dandelion at sunset"),
    Recipe("phone/IMG_20200602_081409.jpg", CAT, "broken"),
    Recipe(PAGE, PAGE, "not-a-picture", "<h1>404 Not Found</h1>\n"),
    Recipe(NOTES, NOTES, "not-a-picture", "To do: sort the phone folder, print the fig.\n"),
)
ORIGINALS = {recipe.original for recipe in RECIPES if recipe.edit != "not-a-picture"}


def _encoded(image: Image.Image, kind: str = "JPEG", quality: int = 85, exif: bytes = b"") -> bytes:
    """Encode a picture."""
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality, optimize=True, exif=exif)
    return buffer.getvalue()


def _brightened(image: Image.Image) -> Image.Image:
    """Make every pixel 15 % brighter."""
    values = np.asarray(image, dtype=np.float64) * 1.15
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _cropped(image: Image.Image) -> Image.Image:
    """Cut 5 % off each side."""
    x, y = image.width // 20, image.height // 20
    return image.crop((x, y, image.width - x, image.height - y))


def _captioned(image: Image.Image, text: str) -> Image.Image:
    """Write `text`, white with a dark outline, near the lower edge."""
    result = image.copy()
    font = ImageFont.load_default(size=image.height // 11)
    place = (image.width / 2, image.height * 0.95)
    pen = ImageDraw.Draw(result)
    pen.text(place, text, "white", font, "ms", stroke_width=2, stroke_fill="black")
    return result


def _turned(image: Image.Image) -> bytes:
    """Turn the pixels and say so in EXIF orientation 6, so that upright nothing has changed."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return _encoded(image.transpose(Image.Transpose.ROTATE_90), exif=exif.tobytes())


def _tagged(data: bytes, text: str) -> bytes:
    """Add `text` to a JPEG file as EXIF description and as comment, without re-encoding it."""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = text
    added = b""
    for marker, payload in ((b"\xff\xe1", exif.tobytes()), (b"\xff\xfe", text.encode())):
        added += marker + (len(payload) + 2).to_bytes(2, "big") + payload
    start = 4 + int.from_bytes(data[4:6], "big")  # after the start marker and the JFIF segment
    return data[:start] + added + data[start:]


BYTE_EDITS: dict[str, Callable[[bytes, str], bytes]] = {  # no encoder takes part in these
    "copy": lambda data, _: data,
    "metadata": _tagged,
    "broken": lambda data, _: data[: data.index(b"\xff\xc4") + 16],  # in a table, before pixels
}
PICTURE_EDITS: dict[str, Callable[[Image.Image, str], bytes]] = {
    "resized": lambda image, _: _encoded(image.resize((image.width // 2, image.height // 2))),
    "recompressed": lambda image, _: _encoded(image, quality=40),
    "brightened": lambda image, _: _encoded(_brightened(image)),
    "grayscaled": lambda image, _: _encoded(image.convert("L")),
    "cropped": lambda image, _: _encoded(_cropped(image)),
    "flipped": lambda image, _: _encoded(ImageOps.mirror(image)),
    "framed": lambda image, _: _encoded(ImageOps.expand(image, image.width // 24, "white")),
    "captioned": lambda image, text: _encoded(_captioned(image, text)),
    "png": lambda image, _: _encoded(image, "PNG"),
    "webp": lambda image, _: _encoded(image, "WEBP"),
    "orientation": lambda image, _: _turned(image),
}


def _made(recipe: Recipe) -> bytes:
    """Make the content of one file; its original is read from ``data/pictures``."""
    if recipe.edit == "not-a-picture":
        return recipe.text.encode()
    data = (PICTURES / recipe.original).read_bytes()
    if recipe.edit in BYTE_EDITS:
        return BYTE_EDITS[recipe.edit](data, recipe.text)
    with Image.open(io.BytesIO(data)) as image:
        return PICTURE_EDITS[recipe.edit](image, recipe.text)


def _ground_truth() -> bytes:
    """Write down, as CSV sorted by file, what every file was made from and how."""
    rows = [(name, name, "original") for name in ORIGINALS]
    rows += [(name, name, "unrelated") for name in UNRELATED]
    rows += [recipe[:3] for recipe in RECIPES]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows([("file", "original", "edit"), *sorted(rows)])
    return buffer.getvalue().encode()


def _same_picture(found: bytes, expected: bytes) -> bool:
    """Tell whether two files hold the same kind of picture with, about, the same pixels."""
    try:
        with Image.open(io.BytesIO(found)) as a, Image.open(io.BytesIO(expected)) as b:
            traits = [(i.format, i.mode, i.size, i.getexif().get(ORIENTATION)) for i in (a, b)]
            if traits[0] != traits[1]:
                return False
            difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    except (OSError, SyntaxError, ValueError):
        return False
    return bool(np.abs(difference).mean() <= TOLERANCE)


def _differences() -> list[str]:
    """Name what is missing from the tree, not expected in it or different from what is made."""
    on_disk = {p.relative_to(PICTURES).as_posix() for p in PICTURES.rglob("*") if p.is_file()}
    known = {*ORIGINALS, *UNRELATED, *(recipe.file for recipe in RECIPES)}
    faults = [f"missing: {name}" for name in sorted(known - on_disk)]
    faults += [f"unexpected: {name}" for name in sorted(on_disk - known)]
    for recipe in (r for r in RECIPES if {r.file, r.original} <= on_disk):
        found, expected = (PICTURES / recipe.file).read_bytes(), _made(recipe)
        by_pixels = recipe.edit in PICTURE_EDITS and _same_picture(found, expected)
        if found != expected and not by_pixels:
            faults.append(f"different: {recipe.file}")
    if not TRUTH.is_file() or TRUTH.read_bytes() != _ground_truth():
        faults.append(f"missing or different: {TRUTH.name}")
    return faults


def main() -> int:
    """Run the command line.

    Returns
    -------
    int
        The exit code: 1 if ``--check`` found a difference, else 0.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    if parser.parse_args().check:
        faults = _differences()
        print(*faults, sep="\n", end="\n" if faults else "")
        return 1 if faults else 0
    for recipe in RECIPES:
        path = PICTURES / recipe.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_made(recipe))
    TRUTH.write_bytes(_ground_truth())
    return 0


if __name__ == "__main__":
    sys.exit(main())
