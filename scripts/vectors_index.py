"""An index of vectors that never were pictures, so that the real one can be measured at any size.

Takes a folder with T.npy (n, 1200) uint8 thumbs and S.npy (n, 272) int8 signatures, as written by
../shared/bench/make_vectors.py, and writes what a build of n pictures would have written: segments,
a graph for the thumbs, a manifest. The pictures have made-up names and lie in no folder.

    python -m scripts.vectors_index VECTORS INDEX [--count 100000] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx import graphs, roots
from annidx.descriptors import SIGNATURE, THUMB
from annidx.images.signature import pack
from annidx.model import File, Record
from annidx.store import identity, snapshot
from annidx.store.manifest import GraphEntry, Manifest, Root, SegmentEntry
from annidx.store.segment import ROWS, table_of
from annidx.store.snapshot import Snapshot

ROOT = Root(1, b"/vectors")
MTIME_NS = 1_600_000_000_000_000_000


def records(
    first: int, thumbs: npt.NDArray[np.uint8], levels: npt.NDArray[np.int8]
) -> Iterator[Record]:
    """Yield a picture for each thumb (m, 1200) and signature (m, 272), numbered from `first`."""
    for at, (thumb, signature) in enumerate(zip(thumbs, pack(levels), strict=True)):
        number = first + at
        digest = number.to_bytes(32, "big")
        yield Record(
            file=File(1, b"%03d/%07d.jpg" % (number // 1000, number), number, MTIME_NS, 64, number),
            read_ns=2 * MTIME_NS,
            status="ok",
            content_hash=digest,
            pixel_hash=digest,
            format="JPEG",
            width=640,
            height=480,
            descriptors={THUMB.name: thumb.tobytes(), SIGNATURE.name: signature.tobytes()},
            image_id=number,
        )


def make(
    index: Path, thumbs: npt.NDArray[np.uint8], levels: npt.NDArray[np.int8], *, threads: int
) -> Manifest:
    """Write an index.

    Parameters
    ----------
    index : Path
        A folder that is not there yet.
    thumbs : (n, 1200) uint8
    levels : (n, 272) int8
        Signatures.
    threads : int
        That build the graph.
    """
    identity.create(index)
    segments = []
    for start in range(0, len(thumbs), ROWS):
        part = slice(start, start + ROWS)
        table = table_of(list(records(start + 1, thumbs[part], levels[part])), "pictures")
        segments.append(snapshot.add_table(index, table, "pictures"))
    manifest = Manifest(
        number=0,
        created="2026-01-01T00:00:00+00:00",
        roots=(ROOT,),
        segments=tuple(segments),
        next_image_id=len(thumbs) + 1,
        next_root_id=2,
        descriptors={each.name: each.version for each in (THUMB, SIGNATURE)},
        graph_metrics=(THUMB.name,),
    )
    opened = Snapshot(index, manifest)
    made = _graphs(opened, segments, threads)
    return snapshot.publish(index, replace(manifest, graphs=made, counts=roots.counts(opened)))


def _graphs(
    opened: Snapshot, segments: Sequence[SegmentEntry], threads: int
) -> tuple[GraphEntry, ...]:
    names = [each.sha256 for each in segments]
    entry = graphs.make(opened, THUMB.name, names, threads=threads) if names else None
    return () if entry is None else (entry,)


def load(folder: Path, count: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the first thumbs and signatures of a folder of vectors, mapped."""
    thumbs, levels = (np.load(folder / f"{name}.npy", mmap_mode="r")[:count] for name in "TS")
    return thumbs, levels


def main(arguments: Sequence[str] | None = None) -> int:
    """Write an index and say what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("vectors", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args(arguments)
    began = time.process_time()
    manifest = make(args.index, *load(args.vectors, args.count), threads=args.threads)
    print(
        f"{args.index}: {sum(manifest.counts.values()):,} pictures in {len(manifest.segments)} "
        f"segments and {len(manifest.graphs)} graphs ({time.process_time() - began:.1f} CPU s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
