"""Which files annidx itself has moved away, so that a build does not take them for lost."""

from __future__ import annotations

from pathlib import Path

from annidx.decisions import path_of
from annidx.store import files, log

SUFFIX = ".plan.log"
"""Of the log of a plan, in ``decisions/``; :mod:`annidx.review.journal` writes them."""


def paths(index: Path) -> frozenset[bytes]:
    """Return the absolute paths of files that plans have moved away, and not put back.

    Where a hard link took the place of a file, a walk finds one of the two names only: both count.
    """
    gone: set[bytes] = set()
    for place in files.listed(index / "decisions"):
        if place.name.endswith(SUFFIX):
            last = {path_of(each, "path"): each for each in log.read(place) if "state" in each}
            for path, record in last.items():
                if record["state"] in ("moved", "purging", "purged"):
                    gone.add(path)
                    if record["how"] == "hardlink":
                        gone.add(path_of(record, "kept"))
    return frozenset(gone)
