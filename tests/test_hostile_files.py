"""Folders made to break a build: through the real command line, and its worker processes.

Files that lie about their size, unpack to gigabytes, or are no files; names that are no text;
files that change while they are read. The large runs are in scripts/torture_memory.py.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import random
import shutil
import socket
import stat
import struct
import subprocess
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pillow_heif
import pytest

from annidx.model import READABLE, STATUSES
from scripts.torture_memory import TreeMemory
from tests.commands.running import (
    ENTRY_POINT,
    PICTURES,
    Done,
    Row,
    Word,
    environment,
    json_lines,
    run,
    without_seconds,
)
from tests.images.pictures import encoded, photo, png_chunk
from tests.making import LONG_AGO_NS, aged

MOST_BYTES = 1_200_000_000
"""What the processes of a build with two workers may take together, by default."""

PNG = b"\x89PNG\r\n\x1a\n"

Maker = Callable[[], bytes]


# Making files. What unpacks to gigabytes is put together of repeated blocks, in no time.


def zeros(size: int) -> bytes:
    """Return so many zeros, deflated."""
    packer = zlib.compressobj(9)
    packer.compress(bytes(1))  # so that the block below has no header
    packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    whole, rest = divmod(size, 1 << 20)
    last = packer.compress(bytes(rest)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 1 + ((size % 65521) << 16)
    return b"\x78\xda" + block * whole + last + b"\x03\x00" + struct.pack(">I", checksum)


def png(
    width: int,
    height: int,
    *,
    colour: int = 2,
    depth: int = 8,
    more: bytes = b"",
    data: bytes = b"",
) -> bytes:
    """Return a black PNG; with `data` (deflated) instead of its pixels, and more chunks before."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = png_chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    data = data or zeros((width * channels * depth // 8 + 1) * height)
    chunks = png_chunk(b"IHDR", header) + more + palette + png_chunk(b"IDAT", data)
    return PNG + chunks + png_chunk(b"IEND", b"")


def ico(picture: bytes, entries: int = 1) -> bytes:
    """Return an icon of 256 x 256 pixels whose every entry is that picture."""
    at = 6 + 16 * entries
    entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(picture), at)
    return struct.pack("<HHH", 0, 1, entries) + entry * entries + picture


def gif(width: int, height: int, frames: int = 1) -> bytes:
    """Return a GIF of a large canvas and frames of one pixel."""
    start = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return start + frame * frames + b"\x3b"


def bmp(width: int, height: int, *, bits: int = 24, packing: int = 0, data: bytes = b"") -> bytes:
    """Return a BMP; without data, it ends behind its header."""
    palette = bytes(range(256)) * 4 if bits == 8 else b""
    start = 54 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, len(data), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + palette + data


def run_length_bmp(width: int, height: int) -> bytes:
    """Return a BMP that says "go down 255 rows" until it is full."""
    whole, rest = divmod(height, 255)
    return bmp(
        width, height, bits=8, packing=1, data=b"\0\2\0\xff" * whole + b"\0\2\0%c\0\1" % rest
    )


def tiff(tags: dict[int, Sequence[int] | bytes], tail: bytes = b"") -> bytes:
    """Return a TIFF of 32-bit numbers, or shorts as bytes; offset 0 in 273 or 324 is the tail."""
    places = len(tags) * 12 + 14
    entries, values = b"", b""
    sizes = {tag: len(v) if isinstance(v, bytes) else 4 * len(v) for tag, v in tags.items()}
    tail_at = places + sum(size for size in sizes.values() if size > 4)
    for tag, value in sorted(tags.items()):
        if isinstance(value, bytes):
            kind, number, raw = 3, len(value) // 2, value
        else:
            numbers = [tail_at] if tag in (273, 324) and list(value) == [0] else value
            kind, number, raw = 4, len(value), struct.pack(f"<{len(numbers)}I", *numbers)
        at = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", places + len(values))
        values += raw if len(raw) > 4 else b""
        entries += struct.pack("<HHI", tag, kind, number) + at
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + values + tail


def one_strip_tiff(width: int, height: int, bits: int = 8) -> bytes:
    """Return a black RGB TIFF in one deflated strip."""
    data = zeros(width * height * 3 * bits // 8)
    depth = struct.pack("<HHH", bits, bits, bits)
    facts = {256: [width], 257: [height], 258: depth, 259: [8], 262: [2], 273: [0], 277: [3]}
    return tiff({**facts, 278: [height], 279: [len(data)]}, data)


def one_tile_tiff(width: int, height: int, side: int) -> bytes:
    """Return a black RGB TIFF in one deflated tile."""
    data = zeros(side * side * 3)
    depth = struct.pack("<HHH", 8, 8, 8)
    facts = {256: [width], 257: [height], 258: depth, 259: [8], 262: [2], 277: [3], 324: [0]}
    return tiff({**facts, 322: [side], 323: [side], 325: [len(data)]}, data)


def many_strips_tiff(strips: int) -> bytes:
    """Return a TIFF one pixel wide whose every pixel is a strip."""
    facts = {256: [1], 257: [strips], 258: [8], 259: [1], 262: [1], 277: [1], 278: [1]}
    return tiff({**facts, 273: [8] * strips, 279: [1] * strips})


def many_pages_tiff(pages: int, *, loop: bool = False) -> bytes:
    """Return a TIFF whose every page says that it is a reduced copy of another."""
    numbers = {254: 1, 256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1}
    page = struct.pack("<H", len(numbers))
    page += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in numbers.items())
    after = [8 + (len(page) + 4) * (at + 1) for at in range(pages)]
    after[-1] = 8 if loop else 0
    return b"II*\0\x08\0\0\0" + b"".join(page + struct.pack("<I", offset) for offset in after)


def jpeg(width: int = 640, height: int = 480, **options: Any) -> bytes:
    return encoded(photo(width, height), "JPEG", **options)


def many_scans_jpeg(scans: int) -> bytes:
    """Return a progressive JPEG of 12 megapixels with empty scans, which refine its DC again."""
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0x10)
    return jpeg(4000, 3000, progressive=True, quality=5)[:-2] + scan * scans + b"\xff\xd9"


def after_start(picture: bytes, segments: bytes) -> bytes:
    """Put segments behind a JPEG's SOI."""
    return picture[:2] + segments + picture[2:]


def heif(format: str) -> bytes:
    pillow_heif.register_heif_opener()
    return encoded(photo(320, 240), format)


def lying(picture: bytes, width: int, height: int) -> bytes:
    """Change what the container of a HEIF or AVIF says of the size."""
    at = picture.index(b"ispe") + 8
    return picture[:at] + struct.pack(">II", width, height) + picture[at + 8 :]


def decoy_jpeg2000(width: int, height: int) -> bytes:
    """Return a JPEG 2000 with a box in front that says that its tiles are tiny."""
    picture = encoded(photo(64, 48).resize((width, height)), "JPEG2000", quality_layers=[900])
    tiny = b"\xff\x4f\xff\x51" + bytes(20) + struct.pack(">II", 1, 1) + bytes(40)
    box = struct.pack(">I", 24 + len(tiny)) + b"uuid" + bytes(16) + tiny
    at = 12 + int.from_bytes(picture[12:16], "big")
    return picture[:at] + box + picture[at:]


ANY = frozenset({"ok", "truncated", "unreadable"})
BOUNDED = ANY | {"too-large", "crashed"}  # whatever comes of it, in bounds
NOT = frozenset({"not-a-picture"})
PROGRAMS = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n",
    "ps": b"%!PS\n(%pipe%touch /tmp/annidx-was-here) (w) file\nshowpage\n",
    "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(18) + b"\1\0\x09\0\0\3" + bytes(40),
    "emf": b"\1\0\0\0\x6c\0\0\0" + bytes(32) + b" EMF" + bytes(64),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "mvg": b"push graphic-context\nimage over 0,0 0,0 'https://example.org/`id`'\n",
}
"""What other readers of pictures hand to Ghostscript and its like."""

MADE: dict[str, tuple[frozenset[str], Maker]] = {
    # Not what they are called.
    "text.jpg": (frozenset({"unreadable"}), lambda: b"Dear diary,\n" * 99),
    "page.jpg": (frozenset({"unreadable"}), lambda: b"<!DOCTYPE html><p>404</p>"),
    "archive.jpg": (frozenset({"unreadable"}), lambda: b"PK\x03\x04" + bytes(99)),
    "archive.zip": (NOT, lambda: b"PK\x03\x04" + bytes(99)),
    "video.jpg": (frozenset({"video"}), lambda: b"\0\0\0\x18ftypmp42" + bytes(99)),
    "jpeg.png": (frozenset({"ok"}), jpeg),
    "jpeg": (frozenset({"ok"}), lambda: jpeg(641)),
    "png.txt": (frozenset({"ok"}), lambda: encoded(photo(65, 48), "PNG")),
    "garbage": (NOT, lambda: random.Random(1).randbytes(9999)),
    "garbage.webp": (frozenset({"unreadable"}), lambda: random.Random(2).randbytes(9999)),
    # Larger than they may be, or said to be.
    "50000.png": (frozenset({"too-large"}), lambda: png(50_000, 50_000, data=zeros(9))),
    "900mp.png": (frozenset({"too-large"}), lambda: png(30_000, 30_000, colour=0)),
    "300mp.png": (frozenset({"too-large"}), lambda: png(20_000, 15_000)),
    "60mp.png": (frozenset({"ok"}), lambda: png(10_000, 6_000)),
    "broken-30mp.png": (ANY, lambda: png(6_000, 5_000, data=zeros(5 * 10**7))),
    "65500.jpg": (
        frozenset({"too-large"}),
        lambda: jpeg().replace(struct.pack(">HH", 480, 640), b"\xff\xdc\xff\xdc", 1),
    ),
    "canvas.gif": (frozenset({"too-large"}), lambda: gif(60_000, 60_000)),
    "canvas-361mp.gif": (BOUNDED, lambda: gif(19_000, 19_000)),
    "frames.gif": (frozenset({"ok"}), lambda: gif(100, 100, frames=10_000)),
    "2147483647.bmp": (frozenset({"too-large"}), lambda: bmp(2**31 - 1, 2**31 - 1)),
    "negative.bmp": (BOUNDED, lambda: bmp(-10, -8_388_618)),
    "strip.bmp": (BOUNDED, lambda: bmp(10, 8_388_618)),
    "run-length-400mp.bmp": (BOUNDED, lambda: run_length_bmp(20_000, 20_000)),
    "256-entries.ico": (frozenset({"ok"}), lambda: ico(png(256, 256), entries=256)),
    "380mp-inside.ico": (frozenset({"too-large"}), lambda: ico(png(19_000, 20_000))),
    "bitmap-inside.ico": (BOUNDED, lambda: ico(bmp(20_000, 40_000)[14:])),
    "one-strip-150mp.tif": (BOUNDED, lambda: one_strip_tiff(15_000, 10_000)),
    "one-strip-16-bit.tif": (BOUNDED, lambda: one_strip_tiff(10_000, 10_000, bits=16)),
    "one-tile-400mp.tif": (frozenset({"too-large"}), lambda: one_tile_tiff(16, 16, 20_000)),
    "strips.tif": (BOUNDED, lambda: many_strips_tiff(100_000)),
    "pages.tif": (frozenset({"ok"}), lambda: many_pages_tiff(3_000)),
    "loop.tif": (frozenset({"ok"}), lambda: many_pages_tiff(9, loop=True)),
    "big.tif": (BOUNDED, lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**62)),
    "lie.avif": (BOUNDED, lambda: lying(heif("AVIF"), 16, 16)),
    "lie.heic": (BOUNDED, lambda: lying(heif("HEIF"), 16, 16)),
    "decoy.jp2": (BOUNDED, lambda: decoy_jpeg2000(6_000, 5_000)),
    # Little on disk, much when unpacked; many of what there should be few.
    "gigabyte-of-text.png": (
        frozenset({"ok"}),
        lambda: png(60, 40, more=png_chunk(b"zTXt", b"a\0\0" + zeros(1 << 30))),
    ),
    "gigabyte-of-utf8.png": (
        frozenset({"ok"}),
        lambda: png(61, 40, more=png_chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(1 << 30))),
    ),
    "gigabyte-of-profile.png": (
        frozenset({"ok"}),
        lambda: png(62, 40, more=png_chunk(b"iCCP", b"a\0\0" + zeros(1 << 30))),
    ),
    "chunks.png": (BOUNDED, lambda: png(63, 40, more=png_chunk(b"prVt", b"") * 50_000)),
    "large-chunk.png": (BOUNDED, lambda: png(64, 40, more=png_chunk(b"prVt", bytes(10**7)))),
    "scans.jpg": (frozenset({"unreadable"}), lambda: many_scans_jpeg(30_000)),
    "comments.jpg": (BOUNDED, lambda: after_start(jpeg(), b"\xff\xfe\0\2" * 100_000)),
    "intervals.jpg": (BOUNDED, lambda: after_start(jpeg(), b"\xff\xdd\0\4\0\0" * 100_000)),
    "fill.jpg": (BOUNDED, lambda: b"\xff\xd8" + b"\xff" * 100_000),
    "restarts.jpg": (ANY, lambda: jpeg(restart_marker_rows=1).replace(b"\xff\xd0", b"\xff\xd5")),
    "panorama.jpg": (
        ANY,
        lambda: encoded(photo(), "MPO", save_all=True, append_images=[photo()])[:-9999],
    ),
    **{f"{kind}.{suffix}": (frozenset({"unreadable"}), lambda data=data: data)  # type: ignore[misc]
       for kind, data in PROGRAMS.items() for suffix in ("jpg", "tif")},
    **{f"{kind}.{kind}": (NOT, lambda data=data: data) for kind, data in PROGRAMS.items()},  # type: ignore[misc]
    **{f"empty{suffix}": (frozenset({"empty"}), bytes) for suffix in (".jpg", ".png", ".heic")},
    "empty": (NOT, bytes),
    "empty.txt": (NOT, bytes),
}  # fmt: skip
"""Names, what may become of each, and how it is made."""

CUTS = 9
SPARSE_BYTES = 3_000_000_000


@dataclass
class Folder:
    """What lies in the folder, and what is to become of it."""

    path: Path
    expected: dict[bytes, frozenset[str]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, name: str | bytes, data: bytes, expected: frozenset[str]) -> Path:
        path = self.path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.expected[bytes(path)] = expected
        return aged(path)


def add_odd_names(folder: Folder) -> None:
    names = (b"a\nb.jpg", b"a\xff\xfeb.jpg", b"\x1b[31mred.jpg", b"-rf", b" .jpg", b"%s%n.jpg")
    for number, name in enumerate([*names, b"x" * 251 + b".jpg", "\u202egpj.exe".encode()]):
        folder.add(b"names/" + name, jpeg(100 + number, 80), frozenset({"ok"}))
    deep = b"/".join([b"d"] * 200)
    folder.add(deep + b"/deep.jpg", jpeg(120, 80), frozenset({"ok"}))


def add_what_is_no_file(folder: Folder) -> None:
    place = folder.path / "special"
    place.mkdir()
    os.mkfifo(place / "fifo.jpg")
    bound = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    try:  # a socket's path must be short
        os.chdir(place)
        bound.bind("socket.jpg")
    finally:
        os.chdir(here)
        bound.close()
    folder.left_out["special"] += 2
    with contextlib.suppress(PermissionError):  # only root may, and not everywhere
        os.mknod(place / "zero.jpg", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        folder.left_out["special"] += 1
    (place / "loop").symlink_to(".")
    (place / "itself.jpg").symlink_to("itself.jpg")
    (place / "nowhere.jpg").symlink_to("missing.jpg")
    (place / "zeros.jpg").symlink_to("/dev/zero")
    folder.left_out["symlink"] += 4


def add_what_cannot_be_read(folder: Folder) -> None:
    folder.add("denied.jpg", jpeg(), frozenset({"denied"})).chmod(0)
    closed = folder.path / "closed"
    closed.mkdir()
    (closed / "unseen.jpg").write_bytes(jpeg())
    closed.chmod(0)
    folder.left_out["unreadable folder"] += 1


def add_cut_files(folder: Folder) -> None:
    kinds = {"jpg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP"}
    whole = {suffix: encoded(photo(320, 240), format) for suffix, format in kinds.items()}
    whole |= {"heic": heif("HEIF"), "avif": heif("AVIF"), "jp2": encoded(photo(), "JPEG2000")}
    for suffix, data in whole.items():
        for at in range(1, CUTS):
            folder.add(f"cut/{at}.{suffix}", data[: len(data) * at // CUTS], ANY)


def add_sparse_files(folder: Folder) -> None:
    for name in ("sparse.jpg", "sparse.tif"):
        path = folder.add(name, b"II*\0" if name.endswith("tif") else b"", frozenset({"too-large"}))
        os.truncate(path, SPARSE_BYTES)
        aged(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def folder(place: Path) -> Iterator[Folder]:
    made = Folder(place / "pictures")
    for name, (expected, maker) in MADE.items():
        made.add(name, maker(), expected)
    for add in (add_odd_names, add_what_is_no_file, add_cut_files, add_sparse_files):
        add(made)
    add_what_cannot_be_read(made)
    for each in sorted((PICTURES / "2019-holiday").glob("*.jpg")):
        made.add(f"good/{each.name}", each.read_bytes(), frozenset({"ok"}))
    yield made
    (made.path / "closed").chmod(0o700)


@pytest.fixture(scope="module")
def user() -> list[str]:
    """Return the command that makes a command run without root's right to read everything."""
    if os.geteuid() != 0:
        return []
    rights = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
    try:
        subprocess.run([*prefix, ENTRY_POINT, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("root may read everything, and setpriv does not take that right away")
    return prefix


@dataclass
class Built:
    """A build of the folder."""

    index: Path
    done: Done
    memory: TreeMemory
    seconds: float


def build(index: Path, *words: Word, prefix: Sequence[str]) -> Built:
    """Build under watch; not by run(), which does not tell the number of the process."""
    command = [*prefix, ENTRY_POINT, "build", "--index", index, *words]
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment({})
    )
    with process, TreeMemory(process.pid) as memory:
        out, err = process.communicate(timeout=200)
    done = Done(command, process.returncode, out, err)
    return Built(index, done, memory, time.monotonic() - started)


@pytest.fixture(scope="module")
def built(place: Path, folder: Folder, user: list[str]) -> Built:
    return build(place / "index", folder.path, "--workers", "2", prefix=user)


def raw_path(row: Row) -> bytes:
    return base64.b64decode(row["path_base64"]) if "path_base64" in row else row["path"].encode()


def became(index: Path) -> dict[bytes, str]:
    """Return what became of each file that failed."""
    rows, _ = json_lines("status", "--failed", index=index)
    return {raw_path(row): row["status"] for row in rows}


# The build


def test_it_is_calm(built: Built) -> None:
    assert built.done.returncode == 3
    lines = built.done.stderr.splitlines()
    assert all(line.startswith("annidx: warning: ") for line in lines), built.done.stderr
    assert [line for line in lines if "closed': folder cannot be listed" in line] == lines


def test_every_entry_is_counted_once(built: Built, folder: Folder) -> None:
    _, summary = json_lines("status", index=built.index)
    assert summary["statuses"].keys() <= STATUSES.keys()
    assert sum(summary["statuses"].values()) == len(folder.expected)
    assert summary["left_out"] == dict(folder.left_out)


def test_every_file_becomes_what_it_should(built: Built, folder: Folder) -> None:
    failed = became(built.index)
    good = READABLE | {"not-a-picture", "video"}
    wrong = {
        path: (failed.get(path, "good"), sorted(expected))
        for path, expected in folder.expected.items()
        if (failed[path] not in expected if path in failed else not expected & good)
    }
    assert wrong == {}
    assert set(failed.values()) & {"timeout"} == set()


def test_readable_files_can_be_asked_for(built: Built, folder: Folder) -> None:
    names = [path for path, expected in folder.expected.items() if b"/names/" in path]
    assert len(names) == 8
    rows, _ = json_lines("query", "-k", "1", "--cutoff", "9999", *names, index=built.index)
    assert len(rows) == len(names)


def test_its_memory_is_bounded(built: Built) -> None:
    assert built.memory.samples > 20
    held = [f"{each / 1e6:.0f} MB" for each in built.memory.at_peak]
    assert 10**8 < built.memory.peak < MOST_BYTES, held


def test_a_second_build_decodes_nothing(built: Built, folder: Folder, user: list[str]) -> None:
    _, summary = json_lines("build", index=built.index, code=3, prefix=user)
    assert (summary["added"], summary["removed"], summary["decoded"]) == (0, 0, 0)


def test_one_worker_finds_the_same(
    built: Built, folder: Folder, user: list[str], place: Path
) -> None:
    alone = build(place / "by one", folder.path, "--workers", "1", prefix=user)
    assert (alone.done.returncode, alone.done.stderr) == (3, built.done.stderr)
    assert became(alone.index) == became(built.index)
    rows = [json_lines("pairs", index=each.index) for each in (built, alone)]
    assert rows[0][0] == rows[1][0]
    ours, theirs = (without_seconds(json_lines("status", index=e.index)[1]) for e in (built, alone))
    assert (ours["statuses"], ours["left_out"]) == (theirs["statuses"], theirs["left_out"])


# Other programs


def test_no_other_program_is_started(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    for kind, data in PROGRAMS.items():
        for suffix in (kind, "jpg", "tif", "png", "ico"):
            (tmp_path / f"{kind}.{suffix}").write_bytes(data)
    log = tmp_path / "log"
    prefix = (strace, "-f", "-qq", "-e", "trace=execve,execveat", "-o", str(log))
    trial = subprocess.run([*prefix, "true"], check=False, capture_output=True)
    if trial.returncode != 0:
        pytest.skip("strace may not trace here")
    run("build", tmp_path, index=tmp_path / "index", code=3, prefix=prefix)
    started = [line for line in log.read_text().splitlines() if "execve(" in line]
    assert started
    assert [line for line in started if "python" not in line and str(ENTRY_POINT) not in line] == []


def test_code_beside_the_pictures_is_not_run(tmp_path: Path) -> None:
    """Python puts the current folder into the import path of processes that are started by -c."""
    (tmp_path / "a.jpg").write_bytes(jpeg())
    for module in ("struct", "signal", "numpy", "multiprocess", "annidx"):
        code = f"open({str(tmp_path / 'was-run')!r}, 'w').close()\n"
        (tmp_path / f"{module}.py").write_text(code)
    run("build", ".", index=tmp_path / "index", cwd=tmp_path)
    assert not (tmp_path / "was-run").exists()


# Files that change


class Meddler(threading.Thread):
    """Does to the files of a folder what may happen while a build reads them."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.random, self.done = folder, random.Random(seed), threading.Event()
        self.names = sorted(path.name for path in folder.iterdir())
        self.fresh = count()
        self.deeds = 0

    def run(self) -> None:
        deeds = (self.vanish, self.rename, self.cut, self.grow, self.replace, self.fifo, self.link)
        while not self.done.wait(0.002):
            path = self.folder / self.random.choice(self.names)
            with contextlib.suppress(OSError):
                self.random.choice(deeds)(path)
                self.deeds += 1

    def vanish(self, path: Path) -> None:
        path.unlink()

    def rename(self, path: Path) -> None:
        path.rename(path.with_name(self.random.choice(self.names)))

    def cut(self, path: Path) -> None:
        os.truncate(path, path.stat().st_size // 2)

    def grow(self, path: Path) -> None:
        if path.is_file() and path.stat().st_size < 10**7:
            with path.open("ab") as handle:
                handle.write(bytes(10**6))

    def replace(self, path: Path) -> None:
        unfinished = path.with_name(f".{next(self.fresh)}")
        unfinished.write_bytes(jpeg(200 + self.random.randrange(100), 90))
        unfinished.rename(path)

    def fifo(self, path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    def link(self, path: Path) -> None:
        path.unlink()
        path.symlink_to("/dev/zero")


def test_files_that_change_while_they_are_read(tmp_path: Path) -> None:
    pictures, index = tmp_path / "pictures", tmp_path / "index"
    pictures.mkdir()
    for number in range(120):
        path = pictures / f"{number:03}.jpg"
        path.write_bytes(jpeg(200 + number, 150))
        aged(path, LONG_AGO_NS + number)
    meddler = Meddler(pictures, seed=1)
    meddler.start()
    try:
        built = build(index, pictures, "--workers", "2", prefix=[])
    finally:
        meddler.done.set()
        meddler.join()
    assert meddler.deeds > 20
    assert built.done.returncode in (0, 3)
    assert built.done.stderr == ""
    _, summary = json_lines("status", index=index)
    assert sum(summary["statuses"].values()) <= 120
    # When all is quiet, the index is what a fresh one would be.
    afterwards = build(index, prefix=[])
    fresh = build(tmp_path / "fresh", pictures, prefix=[])
    assert afterwards.done.returncode == fresh.done.returncode
    ours, theirs = (json_lines("status", index=each.index)[1] for each in (afterwards, fresh))
    assert (ours["statuses"], ours["left_out"]) == (theirs["statuses"], theirs["left_out"])
    assert became(index) == became(fresh.index)
    names = [path for path in sorted(pictures.iterdir()) if path.is_file()]
    pairs = [json_lines("pairs", "--cutoff", "100", index=e.index)[0] for e in (afterwards, fresh)]
    assert names
    assert pairs[0] == pairs[1]


def test_zeros_unpack_to_zeros() -> None:
    for size in (1, 1000, (1 << 20) + 7):
        assert zlib.decompress(zeros(size)) == bytes(size)
    assert io.BytesIO(zeros(1 << 30)).getbuffer().nbytes < 1_100_000
