"""Little archives that are cleared up: built, decided about, planned, applied."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import annidx
from annidx import Index
from annidx.review import apply as applying
from annidx.review import plan as planning
from annidx.review import undo as undoing
from annidx.review.apply import Report
from annidx.review.planned import Plan
from tests.commands.running import PICTURES, run

COFFEE = PICTURES / "2020-home" / "coffee.jpg"
COFFEE_EDIT = PICTURES / "2020-home" / "coffee-edit.jpg"
COFFEE_SMALL = PICTURES / "exports" / "web" / "coffee_small.jpg"
FOREST = PICTURES / "2019-holiday" / "forest-stream.jpg"
SUMMIT = PICTURES / "2019-holiday" / "summit-sunset.jpg"


class Archive:
    """A folder of pictures with an index beside it.

    Parameters
    ----------
    place : Path
        An empty folder.

    Attributes
    ----------
    root, place : Path
        The folder of pictures; the index.
    """

    def __init__(self, place: Path) -> None:
        self.root, self.place = place.resolve() / "photos", place.resolve() / "index"
        self.root.mkdir()

    def add(self, name: str | bytes, source: Path | bytes) -> Path:
        """Put a file into the archive."""
        path = self.root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            path.write_bytes(source)
        else:
            shutil.copy(source, path)
        return path

    def build(self, *roots: Path, code: int = 0) -> Index:
        """Build the index and open it."""
        run("build", *(roots or (self.root,)), index=self.place, code=code)
        return self.open()

    def remember(self) -> None:
        """Keep the archive and its index as they are, for :meth:`restore`."""
        for each in (self.root, self.place):
            shutil.copytree(each, each.with_suffix(".first"))

    def restore(self) -> None:
        """Go back to what was remembered; inodes change."""
        for each in (self.root, self.place):
            shutil.rmtree(each)
            shutil.copytree(each.with_suffix(".first"), each)

    def open(self) -> Index:
        """Open the index."""
        return annidx.open(self.place)

    def plan(self, **options: Any) -> Plan:
        """Make a plan of the decisions and all identical files."""
        return planning.make(self.open(), **{"auto": "identical", **options})

    def apply(self, plan: Plan, *, act: bool = True, **options: Any) -> Report:
        """Carry out a plan."""
        return applying.apply(self.place, plan, act=act, **options)

    def undo(self, plan: Plan | None = None) -> undoing.Undone:
        """Take back a plan, by default the last."""
        return undoing.undo(self.place, plan.plan_id if plan else None, act=True)

    def tree(self) -> dict[str, str]:
        """Return the hash of every file of the archive, by its path."""
        return tree_of(self.root)

    def removed(self) -> set[str]:
        """Return the paths, below their roots, of what was removed."""
        parts = (path.split("/", 2) for path in self.tree() if path.startswith(".annidx-removed/"))
        return {rest for _, _, rest in parts}


def tree_of(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder, by its path below it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def nothing_is_lost(before: dict[str, str], after: dict[str, str]) -> bool:
    """Tell whether every content is still there."""
    return not (Counter(set(before.values())) - Counter(after.values()))


def paths_of(plan: Plan, archive: Archive) -> list[tuple[str, str]]:
    """Return what a plan removes, and what it keeps for it, below the root."""
    base = os.fsencode(archive.root) + b"/"
    return [
        (os.fsdecode(each.path.removeprefix(base)), os.fsdecode(each.kept.removeprefix(base)))
        for each in plan.removals
    ]


def reasons(report: Report) -> Sequence[str]:
    """Return why files were refused."""
    return [each.reason for each in report.outcomes if each.result == "refused"]
