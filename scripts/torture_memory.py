"""Build an index over huge pictures among small ones, and watch what its processes take.

Makes baseline JPEGs of 400 megapixels and PNGs, progressive JPEGs, WebPs, TIFFs, AVIFs, HEICs and
JPEG 2000s of up to 160 once, under --work (a few minutes, 1 GB of memory), and small photos.
Memory is the sum of what each process holds, pages that several share divided among them (PSS),
every 50 ms. A folder of what is given instead is taken as it is.

    scripts/torture_memory.py [--work DIR | --folder DIR] [--limit-mb 1200] [--json]

Exit codes: 0 stayed under the limit, 1 did not, or the build failed.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURES = REPOSITORY / "data" / "pictures"
INTERVAL_S = 0.05
STRIP = 1024  # rows of a photo that tall pictures repeat; whole JPEG blocks, whatever the sampling
SMALL = 300
LONG_AGO_S = 1_600_000_000.0
RESTARTS = re.compile(rb"\xff[\xd0-\xd7]")

Maker = Callable[[], bytes]


@dataclass(slots=True)
class TreeMemory:
    """Watches a process and all that descend from it, in a thread, until it is left.

    Attributes
    ----------
    pid : int
    peak : int
        Most bytes of all of them at one time.
    at_peak : list of int
        Bytes of each process then, the largest first.
    samples : int
    """

    pid: int
    peak: int = 0
    at_peak: list[int] = field(default_factory=list)
    samples: int = 0
    _done: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> TreeMemory:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(INTERVAL_S):
            taken = [held for pid in family(self.pid) if (held := proportional_bytes(pid))]
            self.samples += 1
            if sum(taken) > self.peak:
                self.peak, self.at_peak = sum(taken), sorted(taken, reverse=True)


def family(pid: int) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:  # "pid (name) state parent ...", and a name may hold anything
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    waiting = [pid]
    while waiting:
        yield (each := waiting.pop())
        waiting += children.get(each, [])


def proportional_bytes(pid: int) -> int:
    """Return what a process holds, its share of shared pages included; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def photo(width: int, height: int, number: int = 0) -> Image.Image:
    """Return a shipped photo, enlarged."""
    found = sorted((PICTURES / "2019-holiday").glob("*.jpg"))
    with Image.open(found[number % len(found)]) as image:
        return image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    """Return a picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def tall_jpeg(strip: Image.Image, times: int) -> bytes:
    """Return a baseline JPEG of a strip again and again, without ever holding its pixels.

    With a restart marker after each row of blocks, nothing in a row depends on those above.
    """
    data = saved(strip, "JPEG", quality=30, restart_marker_rows=1)
    scan = data.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    rows = RESTARTS.split(data[start:-2]) * times
    restarts = itertools.cycle(bytes([0xFF, 0xD0 + number]) for number in range(8))
    head = bytearray(data[:start])
    frame = head.index(b"\xff\xc0")
    head[frame + 5 : frame + 7] = struct.pack(">H", strip.height * times)
    body = b"".join(part for row in rows for part in (next(restarts), row))
    return bytes(head) + body[2:] + b"\xff\xd9"


def tall_png(rows: bytes, row_bytes: int, times: int, header: tuple[int, ...]) -> bytes:
    """Return a PNG of the same rows again and again; the header is that of IHDR."""
    filtered = b"".join(b"\0" + rows[at : at + row_bytes] for at in range(0, len(rows), row_bytes))
    packer = zlib.compressobj(1)
    packed = b"".join([*(packer.compress(filtered) for _ in range(times)), packer.flush()])
    palette = _chunk(b"PLTE", bytes(range(256)) * 3) if header[3] == 3 else b""
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
    return start + palette + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, payload: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + payload))
    return struct.pack(">I", len(payload)) + kind + payload + checksum


def png(mode: str, width: int, times: int) -> bytes:
    """Return a tall PNG of a mode: RGB, RGBA, P, I;16, or RGB with 16 bits."""
    image = photo(width, STRIP)
    depth, colour = {"RGB16": (16, 2), "I;16": (16, 0), "P": (8, 3), "RGBA": (8, 6)}.get(
        mode, (8, 2)
    )
    shown = image.convert({"RGB16": "RGB", "I;16": "L", "P": "L"}.get(mode, mode)).tobytes()
    rows = shown.replace(b"\0", b"\1") if depth == 8 else b"".join(b"%c\0" % each for each in shown)
    header = (width, STRIP * times, depth, colour, 0, 0, 0)
    return tall_png(rows, len(rows) // STRIP, times, header)


def makers() -> dict[str, Maker]:
    """Return how each large picture is made, by its name."""
    pillow_heif.register_heif_opener()
    tiff = {"compression": "tiff_adobe_deflate"}
    return {
        "jpeg-400mp-1.jpg": lambda: tall_jpeg(photo(20_000, STRIP, 1), 19),
        "jpeg-400mp-2.jpg": lambda: tall_jpeg(photo(20_000, STRIP, 2), 19),
        "jpeg-400mp-3.jpg": lambda: tall_jpeg(photo(6_100, STRIP, 3), 63),
        "jpeg-400mp-gray.jpg": lambda: tall_jpeg(photo(20_000, STRIP, 4).convert("L"), 19),
        "jpeg-too-many.jpg": lambda: tall_jpeg(photo(20_000, STRIP, 5), 20),
        "png-100mp-rgb.png": lambda: png("RGB", 10_000, 10),
        "png-100mp-rgba.png": lambda: png("RGBA", 10_000, 10),
        "png-100mp-palette.png": lambda: png("P", 10_000, 10),
        "png-100mp-16-bit-gray.png": lambda: png("I;16", 10_000, 10),
        "png-100mp-16-bit.png": lambda: png("RGB16", 10_000, 10),
        "png-160mp-rgb.png": lambda: png("RGB", 16_000, 10),
        "png-200mp-rgb.png": lambda: png("RGB", 20_000, 10),
        "png-380mp-palette.png": lambda: png("P", 19_000, 20),
        "jpeg-100mp-progressive-1.jpg": lambda: saved(
            photo(10_000, 10_000, 1), "JPEG", progressive=True, quality=30
        ),
        "jpeg-100mp-progressive-2.jpg": lambda: saved(
            photo(10_000, 10_000, 2), "JPEG", progressive=True, quality=30, subsampling=0
        ),
        "webp-36mp.webp": lambda: saved(photo(6_000, 6_000, 1), "WEBP", method=0, quality=30),
        "webp-64mp.webp": lambda: saved(photo(8_000, 8_000, 2), "WEBP", method=0, quality=30),
        "tiff-100mp-deflate.tif": lambda: saved(photo(10_000, 10_000, 3), "TIFF", **tiff),
        "tiff-100mp-one-strip.tif": lambda: saved(
            photo(10_000, 10_000, 4), "TIFF", **tiff, strip_size=2**30
        ),
        "tiff-64mp-plain.tif": lambda: saved(photo(8_000, 8_000, 5), "TIFF"),
        "avif-60mp.avif": lambda: saved(photo(10_000, 6_000, 1), "AVIF", speed=10, quality=30),
        "heic-50mp.heic": lambda: saved(photo(10_000, 5_000, 2), "HEIF", quality=20),
        "jpeg2000-25mp.jp2": lambda: saved(
            photo(5_000, 5_000, 3), "JPEG2000", quality_layers=[100], quality_mode="rates"
        ),
        "jpeg2000-64mp-tiles.jp2": lambda: saved(
            photo(8_000, 8_000, 4), "JPEG2000", tile_size=(512, 512), quality_layers=[100]
        ),
    }


def make(work: Path) -> Path:
    """Return the folder of pictures; what is there already stays."""
    folder = work / "pictures"
    (folder / "small").mkdir(parents=True, exist_ok=True)
    small = {f"small/{n:03}.jpg": small_maker(n) for n in range(SMALL)}
    for name, maker in (makers() | small).items():
        path = folder / name
        if not path.exists():
            unfinished = path.with_suffix(".part")
            unfinished.write_bytes(maker())
            os.utime(unfinished, (LONG_AGO_S, LONG_AGO_S))
            unfinished.rename(path)
            if name not in small:
                print(f"made {name}, {path.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    return folder


def small_maker(number: int) -> Maker:
    """Return what makes one of the small photos."""

    def maker() -> bytes:
        left, top = number % 20, number // 20
        box = (left, top, left + 640, top + 480)
        return saved(photo(700, 520, number).crop(box), "JPEG", quality=80)

    return maker


@dataclass(frozen=True, slots=True)
class Run:
    """What a build took, and what became of the files."""

    code: int
    seconds: float
    peak_mb: float
    at_peak_mb: list[float]
    statuses: dict[str, int]
    failures: dict[str, str]
    stderr: str


def build(folder: Path, index: Path, *words: str) -> Run:
    """Run ``annidx build`` in a fresh index and watch it."""
    command = [sys.executable, "-m", "annidx"]
    started = time.monotonic()
    with (
        subprocess.Popen(
            [*command, "build", str(folder), "--index", str(index), "--quiet", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        TreeMemory(process.pid) as memory,
    ):
        stderr = process.communicate()[1]
    seconds = time.monotonic() - started
    rows = _lines([*command, "status", "--failed", "--json", "--index", str(index)])
    summary = _lines([*command, "status", "--json", "--index", str(index)])
    return Run(
        process.returncode,
        round(seconds, 1),
        round(memory.peak / 1e6, 1),
        [round(each / 1e6, 1) for each in memory.at_peak],
        dict(summary[-1]["statuses"]) if summary else {},
        {Path(row["path"]).name: f"{row['status']}: {row['error']}" for row in rows[:-1]},
        stderr,
    )


def _lines(command: list[str]) -> list[dict[str, Any]]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def print_table(run: Run, limit_mb: float) -> None:
    """Print what a run took, for people."""
    parts = " + ".join(f"{each:.0f}" for each in run.at_peak_mb)
    print(f"peak      {run.peak_mb:,.0f} MB of {limit_mb:,.0f} ({parts})")
    print(f"wall      {run.seconds:,.1f} s, exit code {run.code}")
    print("became    " + ", ".join(f"{n:,} {status}" for status, n in run.statuses.items()))
    for name, reason in run.failures.items():
        print(f"    {name:32}  {reason}")
    if run.stderr:
        print(f"stderr    {run.stderr}")


def main() -> int:
    """Make, build, tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    place = Path(tempfile.gettempdir()) / "annidx-torture-memory"
    parser.add_argument("--work", type=Path, default=place, metavar="DIR", help=f"default {place}")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="pictures to take instead")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--limit-mb", type=float, default=1200.0, metavar="MB")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    folder = args.folder or make(args.work)
    index = Path(tempfile.mkdtemp(prefix="annidx-torture-")) / "index"
    try:
        run = build(folder, index, "--workers", str(args.workers))
    finally:
        shutil.rmtree(index.parent)
    if args.json:
        print(json.dumps(asdict(run)))
    else:
        print_table(run, args.limit_mb)
    return 0 if run.peak_mb <= args.limit_mb and run.code in (0, 3) else 1


if __name__ == "__main__":
    sys.exit(main())
