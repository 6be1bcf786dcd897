"""Pictures that have nothing to do with each other, from packages of Debian and npm.

Owns which packages are taken, what of them, and which pictures of them are the same thing.
Packages are downloaded by name with apt-get and npm into a cache folder, and unpacked there.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from scripts.accuracy_picture import fitted, write_truth
from scripts.accuracy_scenes import FOLDERS, large_photos

LONGEST = 640
SMALLEST = 48

PACKAGES = {
    "gcompris-qt-data": "photo",
    "ukui-wallpapers": "photo",
    "lomiri-wallpapers-20.04": "photo",
    "kalzium-data": "icon",
    "stellarium-data": "texture",
    "marble-data": "icon",
    "debian-handbook": "screenshot",
    "gnucash-docs": "screenshot",
    "kicad-doc-en": "screenshot",
    "vtk9-doc": "screenshot",
    "grass-doc": "screenshot",
    "gimp-help-en": "screenshot",
    "pokerth-data": "icon",
    "gimp-data-extras": "texture",
    "mypaint-data-extras": "texture",
    "gnome-icon-theme": "icon",
    "supertuxkart-data": "texture",
    "redeclipse-data": "texture",
    "openclipart-png": "clipart",
    "tuxpaint-stamps-default": "stamp",
    "oxygen-icon-theme": "icon",
}
"""Debian packages, and what their pictures are; their JPEGs are photos or textures."""

PIECES = {"paintings", "details", "babyshapes", "photo_hunter", "clickgame"}
"""Resource files of gcompris with parts and edits of other pictures."""

CARVED = {"lang": "clipart"}
"""Resource files of gcompris that hold no photos."""

EMOJI = "emoji-datasource-twitter"  # of npm
PHOTOGRAPHED = {"supertuxkart-data", "redeclipse-data"}
"""Packages of which only JPEGs are taken: the rest are buttons in many colours."""

LEFT_OUT = re.compile(
    r"/debian-handbook/html/(?!en-US)[^/]+/|/doc/HTML/(?!en/)|/usr/share/help/(?!C/)"
    r"|-guide-(?!en)[a-z]{2}/|/html/icons/|/star_\d+pt\d+step|_(?:normal|norm|n|nm|spec|mask)\."
    r"|/gimp/.*(?:example|taj|tutorial|quickie|/using/)|/gimp/.*[.]jpg"
)
"""Translations, what another package has, too, maps of textures, and examples of filters."""

FAMILY = re.compile(
    r"(?:[-_. ]?\d+|[-_. ](?:[a-z]|left|right|up|down|black|white|red|green|blue|yellow|orange"
    r"|purple|pink|gray|grey|brown|dark|light|small|big|large|color|colour|bw|mono|of|shadow|mirror"
    r"|old|new|normal|nm|diffuse|spec|gloss|mask|alpha|emit|open|closed|on|off|thumb))+$",
    re.IGNORECASE,
)
"""What tells files of one family apart: numbers, colours, sides."""


@dataclass(frozen=True, slots=True)
class Source:
    """One picture of a package: what tells it, what it is, and its bytes."""

    name: str
    family: str
    role: str
    data: bytes


def write_unrelated(out: Path, cache: Path, shared: Path, *, tiles: bool) -> dict[str, int]:
    """Write all pictures, at most 640 pixels long, and truth.csv; return how many of each role.

    Of files of equal bytes, and of one family by name, one is taken. Pictures that are copies of
    each other by what they show get one group.
    """
    out.mkdir(parents=True, exist_ok=True)
    names, roles, families, seen = [], [], [], []
    for number, (source, image) in enumerate(_distinct(sources(cache, shared, tiles=tiles))):
        name = f"{number:05d}-{re.sub(r'[^A-Za-z0-9_-]+', '_', source.name)[-60:]}"
        name += ".jpg" if source.role in ("photo", "tile") else ".png"
        image.save(out / name, quality=90, compress_level=2)
        names.append(name)
        roles.append(source.role)
        families.append(source.family if source.role == "tile" else "")
        seen.append(_seen(image))
    same = copies(np.stack(seen), np.array([role == "photo" for role in roles]))
    first: dict[str, int] = {}
    groups = [
        f"u{first.setdefault(family, k):05d}" if family else f"u{same[k]:05d}"
        for k, family in enumerate(families)
    ]
    return write_truth(out, zip(names, groups, roles, strict=True))


def sources(cache: Path, shared: Path, *, tiles: bool) -> Iterator[Source]:
    """Yield the pictures of the shared folder, of installed wallpapers and of all packages."""
    for path in sorted((shared / "caltech").rglob("*.jpg")):
        yield Source(
            f"caltech_{path.parent.name}_{path.stem}", str(path), "photo", path.read_bytes()
        )
    for path in sorted((shared / "ukbench400").glob("*.jpg"))[::4]:
        yield Source(f"ukbench_{path.stem}", str(path), "photo", path.read_bytes())
    for path in large_photos(FOLDERS):
        name = f"wallpaper_{path.parents[2].name}_{path.stem}"
        yield Source(name, str(path), "photo", path.read_bytes())
        if tiles:
            yield from _tiles(path)
    for package, role in PACKAGES.items():
        folder = unpacked(package, cache)
        if folder is not None:
            yield from _of_package(package, role, folder)
    folder = unpacked_npm(EMOJI, cache)
    if folder is not None:
        for path in sorted(folder.glob("**/img/twitter/64/*.png")):
            if not re.search(r"-1f3f[b-f]|-200d-", path.stem):  # skins, families of families
                yield Source(f"emoji_{path.stem}", f"emoji/{path.stem}", "emoji", path.read_bytes())


def unpacked(package: str, cache: Path) -> Path | None:
    """Return the folder of an unpacked Debian package; download it if need be, None if it fails."""
    folder = cache / package
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        if subprocess.run(
            ["apt-get", "download", "-q", package], cwd=cache, check=False
        ).returncode:
            print(f"{package}: apt-get download failed, left out", file=sys.stderr)
            return None
        archive = next(cache.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg", "-x", archive, folder], check=True)
        archive.unlink()
    return folder


def unpacked_npm(package: str, cache: Path) -> Path | None:
    """Return the folder of an unpacked npm package; download it if need be, None if it fails."""
    folder = cache / package
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", package]
        packed = subprocess.run(command, cwd=cache, check=False, capture_output=True, text=True)
        if packed.returncode:
            print(f"{package}: npm pack failed, left out", file=sys.stderr)
            return None
        archive = cache / packed.stdout.split()[-1]
        folder.mkdir()
        subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
        archive.unlink()
    return folder


def _of_package(package: str, role: str, folder: Path) -> Iterator[Source]:
    paths = [each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()]
    # The largest size of an icon first: the family takes one.
    for path in sorted(paths, key=lambda each: (-_size_in(each), str(each))):
        if path.suffix == ".rcc" and path.stem not in PIECES:
            for k, data in enumerate(carved(path.read_bytes())):
                yield Source(
                    f"{package}_{path.stem}_{k}", f"{path}/{k}", CARVED.get(path.stem, role), data
                )
        if path.suffix.lower() not in {".jpg", ".jpeg", ".png", ".webp"}:
            continue
        if LEFT_OUT.search(str(path)) or path.stat().st_size > 50_000_000:
            continue
        if package in PHOTOGRAPHED and path.suffix != ".jpg":
            continue
        jpeg = path.suffix.lower() in (".jpg", ".jpeg") and role == "screenshot"
        stem = FAMILY.sub("", path.stem) or path.stem
        place = "" if role == "icon" else path.parent.relative_to(folder)
        family = f"{package}/{place}/{stem}"
        name = f"{package}_{path.parent.name}_{path.stem}"
        yield Source(name, family, "photo" if jpeg else role, path.read_bytes())


def _size_in(path: Path) -> int:
    """Return the size that a folder of icons names, 128 in 128x128; up to 128, else 0."""
    found = re.search(r"/(\d+)x\d+/", str(path))
    size = int(found[1]) if found else 0
    return size if size <= 128 else 0


def carved(data: bytes) -> Iterator[bytes]:
    """Yield the WebP and JPEG files that lie uncompressed in a Qt resource file."""
    for found in re.finditer(rb"RIFF(....)WEBP", data, re.DOTALL):
        yield data[found.start() : found.start() + 8 + int.from_bytes(found[1], "little")]
    for found in re.finditer(rb"(....)\xff\xd8\xff[\xe0\xe1\xdb]", data, re.DOTALL):
        length = int.from_bytes(found[1], "big")  # of the entry
        yield data[found.start() + 4 : found.start() + 4 + length]


def _tiles(path: Path) -> Iterator[Source]:
    """Yield sixteen tiles of a wallpaper, one family."""
    with Image.open(path) as image:
        whole = fitted(image.convert("RGB"), 2560)
    width, height = whole.width // 4, whole.height // 4
    for k in range(16):
        left, top = k % 4 * width, k // 4 * height
        buffer = io.BytesIO()
        whole.crop((left, top, left + width, top + height)).save(buffer, "PNG")
        yield Source(f"tile_{path.stem}_{k}", str(path), "tile", buffer.getvalue())


def _distinct(all_sources: Iterator[Source]) -> Iterator[tuple[Source, Image.Image]]:
    """Yield one picture of each family, reduced, on white; equal bytes once."""
    known: set[str] = set()
    for source in all_sources:
        digest = hashlib.sha256(source.data).hexdigest()
        family = digest if source.role == "tile" else source.family
        if digest in known or family in known:
            continue
        try:
            with Image.open(io.BytesIO(source.data)) as opened:
                if min(opened.size) < SMALLEST or opened.width * opened.height > 60_000_000:
                    continue
                opened.draft("RGB", (LONGEST, LONGEST))
                image = fitted(opened.convert("RGBA"), LONGEST)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
        known |= {digest, family}
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        plain = Image.alpha_composite(white, image).convert("RGB")
        if np.asarray(plain, np.float32).std() > 4:  # else there is nothing on it
            yield source, plain


def _seen(image: Image.Image) -> npt.NDArray[np.float32]:
    """Return a gray thumbnail of 16 x 16, its mean taken off, of length one."""
    gray = np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BOX), np.float32)
    gray = gray - gray.mean()
    length = float(np.linalg.norm(gray))
    return np.asarray(gray / length if length > 0 else gray, np.float32)


def copies(seen: npt.NDArray[np.float32], photos: npt.NDArray[np.bool_]) -> list[int]:
    """Return for each thumbnail, (n, 16, 16), the first one that it is a copy of, maybe itself.

    Copies correlate in one of the eight orientations: two photos at .97, where all pairs that were
    looked at showed one scene; others at .996. The limits are high, so that pictures that are only
    alike remain what a metric has to tell apart.
    """
    parent = list(range(len(seen)))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = k = parent[parent[k]]
        return k

    flat = seen.reshape(len(seen), -1)
    for turn in range(8):
        turned = np.rot90(seen, turn % 4, axes=(1, 2))
        turned = turned[:, :, ::-1] if turn > 3 else turned
        other = np.ascontiguousarray(turned).reshape(len(seen), -1)
        for start in range(0, len(seen), 1024):
            both = photos[start : start + 1024, None] & photos[None, :]
            limit = np.where(both, 0.97, 0.996)
            near = np.argwhere(flat[start : start + 1024] @ other.T >= limit)
            for a, b in near:
                one, two = sorted((root(int(a) + start), root(int(b))))
                parent[two] = one
    return [root(k) for k in range(len(seen))]
