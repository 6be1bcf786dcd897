"""Made tests/golden/v1: a small index of format 1, and what it answered when it was made.

It must load for ever, so it is not made again: a new format gets a golden index of its own. The
index has everything that the format knows: segments of both kinds, removed rows, several graphs of
two metrics, pictures that no graph covers, names that are not UTF-8, companions, two snapshots.

  python tests/golden/make_v1.py FOLDER
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

import annidx
from annidx import Index, layout
from annidx.store import files, history, snapshot
from annidx.store.manifest import Root

PICTURES = Path(__file__).parents[2] / "data" / "pictures"
CAT, COFFEE = "phone/IMG_20200602_081402.jpg", "2020-home/coffee.jpg"
DAYS: tuple[dict[bytes, str], ...] = (  # all of them CC0
    {
        b"cat.jpg": CAT,
        b"copy of cat.jpg": CAT,
        b"coffee.jpg": COFFEE,
        b"caf\xe9.jpg": "exports/web/coffee_small.jpg",
        b"camera.jpg": "scans/cameraman.jpg",
    },
    {
        b"more/cat.jpg": "phone/IMG_20200602_081402_MONO.jpg",
        b"more/bricks.jpg": "scans/brick-wall.jpg",
    },
    {b"later.jpg": "exports/web/coffee_small.jpg"},
)
LONG_AGO_NS = 1_600_000_000_000_000_000


def main() -> int:
    """Make the folder."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as place, mock.patch.object(layout, "TAIL_ROWS", 1):
        index = Path(place) / "index"
        made(Path(place) / "photos", index)
        shutil.copytree(index, target / "index", ignore=shutil.ignore_patterns("locks", "tmp"))
    opened = annidx.open(target / "index")
    expected = answers(opened)
    (target / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    return 0


def made(archive: Path, index: Path) -> None:
    """Build day after day; in the end the archive lies in /photos."""
    for day in DAYS:
        for name, source in day.items():
            path = archive / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PICTURES / source, path)
            os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
        for other, content in (("broken.jpg", b"\xff\xd8\xff garbage"), ("notes.txt", b"text")):
            (archive / other).write_bytes(content)
        (archive / "coffee.xmp").write_bytes(b"<x:xmpmeta/>")
        annidx.build([archive], index=index, options=annidx.Options(graph_metrics=["signature"]))
    (archive / "camera.jpg").unlink()
    annidx.build(index=index)
    manifest = snapshot.current(index).manifest
    elsewhere = replace(manifest, roots=(Root(1, b"/photos"),))
    with files.writer_lock(index):
        for _ in range(2):
            snapshot.publish(index, elsewhere)
        history.prune(index, 4e9, keep=2, keep_s=0)


def answers(index: Index) -> dict[str, Any]:
    """Return what an index answers, as JSON can hold it."""
    manifest = index.manifest
    found: dict[str, Any] = {
        "pictures": [row(index, at) for at in np.flatnonzero(index.snapshot.pictures.live)],
        "failures": [[*map(str, each[1:]), encoded(each[0])] for each in index.failures()],
        "graphs": [[each.metric, each.nodes, len(each.segments)] for each in manifest.graphs],
        "removed": [each.rows - each.live for each in manifest.segments],
        "counts": dict(manifest.counts),
    }
    for metric in ("thumb", "signature"):
        for exact in (False, True):
            pairs = index.find_pairs(metric=metric, exact=exact)
            found[f"pairs {metric} {exact}"] = [
                [encoded(each.raw_a), encoded(each.raw_b), each.distance, each.kind]
                for each in pairs
            ]
    groups = index.groups()
    found["groups"] = [[sorted(map(encoded, each.raw_paths)), each.diameter] for each in groups]
    return found


def row(index: Index, at: np.intp) -> dict[str, Any]:
    """Return a picture's facts and descriptors, and its nearest ones by each metric."""
    (record,) = index.snapshot.pictures.records(np.array([at]))
    (path,) = index.snapshot.paths(np.array([at]))
    facts = ("width", "height", "format", "status", "taken", "camera", "orientation", "image_id")
    result: dict[str, Any] = {name: getattr(record, name) for name in facts}
    result["path"] = encoded(path)
    result["companions"] = [encoded(each) for each in record.file.companions]
    result["content_hash"] = record.content_hash.hex()
    for name, stored in record.descriptors.items():
        result[name] = encoded(stored)
    return result


def encoded(data: bytes) -> str:
    """Return bytes as text."""
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    sys.exit(main())
