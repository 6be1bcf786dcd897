"""An index of a million made pictures, so that the fingerprint can be measured at any size.

Cuts pieces out of photos, bends each in its own way, so that pieces of one photo do not match, puts
two together now and then, changes their tone, and describes each as a build would; 8 in 100 come
with edits of them, as in ../shared/bench/make_vectors.py. The pictures have made-up names and lie
in no folder.

    python -m scripts.pictures_index PHOTOS... INDEX --count 100000 [--sources 12000] [--threads 2]
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from annidx import graphs, recognition, roots
from annidx.descriptors import DEFAULT_DESCRIPTORS, FINGERPRINT, descriptor
from annidx.images import decode, extract
from annidx.model import File, Record
from annidx.store import identity, snapshot
from annidx.store.manifest import Manifest, Root
from annidx.store.segment import ROWS, table_of
from annidx.store.snapshot import Snapshot

ROOT = Root(1, b"/pictures")
MTIME_NS = 1_600_000_000_000_000_000
SIDE, SHORT = 96, 140
CELLS, BEND = 4, 11  # the corners of so many cells a side move by up to so many pixels
BLOCK = 1000
FAMILY = (0.08, 4)  # so many of the rows have up to so many edits

_sources: list[Image.Image] = []


def load(folders: Sequence[Path], count: int) -> None:
    """Read photos, small, into the memory that the workers share."""
    paths = sorted(path for folder in folders for path in folder.rglob("*.[jp][pn]g"))
    for at in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int):
        with Image.open(paths[at]) as image:
            image.draft("RGB", (2 * SHORT, 2 * SHORT))
            small = image.convert("RGB")
        scale = SHORT / min(small.size)
        size = tuple(max(SHORT, round(each * scale)) for each in small.size)
        _sources.append(small.resize((size[0], size[1])))


def piece(rng: np.random.Generator) -> Image.Image:
    """Cut a piece out of a photo: .3 to 1 of its short side."""
    image = _sources[rng.integers(len(_sources))]
    width, height = image.size
    scale, aspect = rng.uniform(0.3, 1.0) * min(image.size), rng.uniform(0.75, 1.33) ** 0.5
    across, down = (int(max(24, each)) for each in (scale * aspect, scale / aspect))
    across, down = min(across, width), min(down, height)
    left, top = int(rng.integers(width - across + 1)), int(rng.integers(height - down + 1))
    wide = SIDE + 2 * BEND
    cut = bent(image.resize((wide, wide), box=(left, top, left + across, top + down)), rng)
    return ImageOps.mirror(cut) if rng.random() < 0.5 else cut


def bent(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the middle of a picture, (SIDE, SIDE), bent as no edit bends one."""
    step = SIDE // CELLS
    corners = np.stack(np.meshgrid(*2 * [np.arange(CELLS + 1)], indexing="ij"), axis=-1) * step
    moved = (corners + BEND + rng.uniform(-BEND, BEND, corners.shape))[..., ::-1].tolist()
    cells = [
        (
            (x * step, y * step, (x + 1) * step, (y + 1) * step),
            (*moved[y][x], *moved[y + 1][x], *moved[y + 1][x + 1], *moved[y][x + 1]),
        )
        for y in range(CELLS)
        for x in range(CELLS)
    ]
    side, way = (SIDE, SIDE), Image.Transform.MESH
    return image.transform(side, way, cells, Image.Resampling.BILINEAR)


def made(rng: np.random.Generator) -> Image.Image:
    """Make a picture of one piece or of two, in a tone of its own."""
    image = piece(rng)
    if rng.random() < 0.5:
        edge = int(rng.integers(20, 77))
        box = (0, 0, SIDE, edge) if rng.random() < 0.5 else (0, 0, edge, SIDE)
        image.paste(piece(rng).crop(box), box)
    if rng.random() < 0.5:
        levels = 255 * (np.arange(256) / 255) ** rng.uniform(0.7, 1.4)
        image = image.point((rng.uniform(0.75, 1.25, 3)[:, None] * levels).clip(0, 255).ravel())
    return image


def edited(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return an edit: scaled, brighter, or cropped by up to 4 %."""
    kind = rng.integers(3)
    if kind == 0:
        side = int(rng.integers(40, 90))
        return image.resize((side, side))
    if kind == 1:
        return image.point(lambda level: min(255, int(level * 1.1)))
    left, top = rng.integers(0, 5, 2).tolist()
    return image.crop((left, top, SIDE, SIDE))


def block(number: int) -> list[dict[str, bytes]]:
    """Return the descriptors of some rows, always the same ones."""
    rng = np.random.default_rng(number)
    found: list[dict[str, bytes]] = []
    while len(found) < BLOCK:
        image = made(rng)
        some = [image]
        if rng.random() < FAMILY[0] / 2:
            some += [edited(image, rng) for _ in range(rng.integers(1, FAMILY[1] + 1))]
        for each in some[: BLOCK - len(found)]:
            picture = decode.from_image(each)
            found.append(dict(extract.picture_record(picture, DEFAULT_DESCRIPTORS).descriptors))
    return found


def records(first: int, rows: Sequence[dict[str, bytes]]) -> Iterator[Record]:
    """Yield a picture for each row, numbered from `first`."""
    for number, stored in enumerate(rows, first):
        digest = number.to_bytes(8, "little") * 4
        yield Record(
            file=File(1, b"%03d/%07d.jpg" % (number // 1000, number), number, MTIME_NS, 64, number),
            read_ns=2 * MTIME_NS,
            status="ok",
            content_hash=digest,
            pixel_hash=digest,
            format="JPEG",
            width=SIDE,
            height=SIDE,
            descriptors=stored,
            image_id=number,
        )


def make(index: Path, count: int, *, threads: int) -> Manifest:
    """Write the segments, the graph and the chances of an index that is not there yet."""
    identity.create(index)
    segments, held, first = [], [], 1
    began = time.monotonic()
    context = multiprocessing.get_context("fork")  # the photos are shared
    with ProcessPoolExecutor(threads, mp_context=context) as pool:
        for number, rows in enumerate(pool.map(block, range(-(-count // BLOCK)))):
            held += rows
            last = (number + 1) * BLOCK >= count
            if len(held) >= ROWS or last:
                table = table_of(list(records(first, held)), "pictures")
                segments.append(snapshot.add_table(index, table, "pictures"))
                first, held = first + len(held), []
                print(f"  {first - 1:,} rows, {time.monotonic() - began:.0f} s", flush=True)
    manifest = Manifest(
        number=0,
        created="2026-01-01T00:00:00+00:00",
        roots=(ROOT,),
        segments=tuple(segments),
        next_image_id=first,
        next_root_id=2,
        descriptors={name: descriptor(name).version for name in DEFAULT_DESCRIPTORS},
        graph_metrics=(FINGERPRINT.name,),
    )
    opened = Snapshot(index, manifest)
    names = [each.sha256 for each in segments]
    began, cpu = time.monotonic(), time.process_time()
    graph = graphs.make(opened, FINGERPRINT.name, names, threads=threads)
    spent = time.monotonic() - began, time.process_time() - cpu
    print(f"  graph: {spent[0]:.0f} s, {spent[1]:.0f} CPU s, {graph}", flush=True)
    began, cpu = time.monotonic(), time.process_time()
    chance = recognition.measured(opened)
    spent = time.monotonic() - began, time.process_time() - cpu
    print(f"  chances: {spent[0]:.0f} s, {spent[1]:.0f} CPU s", flush=True)
    manifest = replace(manifest, graphs=(graph,) if graph else (), chance=chance)
    return snapshot.publish(index, replace(manifest, counts=roots.counts(opened)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write an index and say what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("index", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--sources", type=int, default=12_000)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(arguments)
    load(args.photos, args.sources)
    manifest = make(args.index, args.count, threads=args.threads)
    size = sum(path.stat().st_size for path in args.index.rglob("*") if path.is_file())
    rows = sum(manifest.counts.values())
    print(f"{args.index}: {rows:,} pictures, {size / max(rows, 1):,.0f} bytes each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
