"""What a build finds when it begins: the current snapshot, without whatever of it is damaged.

A damaged segment is left away, so that its pictures are new to the build and extracted again; a
damaged graph likewise, so that it is made again; a damaged ``annidx.json`` is written anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from annidx.errors import FileDamaged, IndexDamaged
from annidx.store import history, identity, snapshot
from annidx.store.manifest import GraphEntry, Manifest, SegmentEntry
from annidx.store.sealed import Sealed
from annidx.store.snapshot import Snapshot


@dataclass(slots=True)
class Stock:
    """The state that a build goes on from.

    Attributes
    ----------
    was : Manifest
        As it was published; number 0 when nothing was.
    whole : Manifest
        The same without damaged segments and graphs.
    opened : Snapshot
        The whole one.
    warnings : list of str
        One line for each thing that was damaged.
    """

    was: Manifest
    whole: Manifest
    opened: Snapshot
    warnings: list[str] = field(default_factory=list)

    @property
    def damaged_pictures(self) -> int:
        """How many pictures were in damaged segments: they are to be extracted anew."""
        before, now = (
            sum(entry.live for entry in each.segments if entry.kind == "pictures")
            for each in (self.was, self.whole)
        )
        return before - now


def take_stock(index: Path, *, rebuild: bool) -> Stock:
    """Open what there is of an index, as far as it is whole; only under the writer's lock.

    Parameters
    ----------
    index : Path
    rebuild : bool
        Also when no manifest is whole: then nothing is known, not even the roots.

    Raises
    ------
    IndexTooNew
    IndexDamaged
        When no manifest is whole, unless `rebuild`.
    """
    warnings = list(_mended_identity(index))
    try:
        was = snapshot.current_manifest(index, warnings) or Manifest(0, "")
    except IndexDamaged as error:
        if not rebuild:
            raise
        warnings.append(f"{error} Everything is extracted anew.")
        was = Manifest(0, "")
    segments = [entry for entry in was.segments if _is_whole(index, entry, warnings)]
    in_segments = replace(was, segments=tuple(segments))
    opened = Snapshot(index, in_segments)
    graphs = [entry for entry in was.graphs if _is_whole_graph(opened, entry, warnings)]
    whole = replace(in_segments, graphs=tuple(graphs))
    return Stock(was, whole, opened, warnings)


def _mended_identity(index: Path) -> Iterator[str]:
    """Write ``annidx.json`` anew when it is damaged, or is that of another index."""
    where = index / "annidx.json"
    known_id, damage = "", f"{where} is that of another index"
    try:
        known_id = identity.index_id(index)
    except IndexDamaged as error:
        damage = str(error).partition(". ")[0]
    manifests = [each.manifest for each in history.whatever_it_is(index) if each.manifest]
    named = [manifest.index_id for manifest in manifests if manifest.index_id]
    if known_id and (not named or known_id in named):
        return
    identity.mend(index, named[-1] if named else "")
    yield f"{damage}: it was written anew"


def _is_whole(index: Path, entry: SegmentEntry, warnings: list[str]) -> bool:
    try:
        Sealed(snapshot.segment_path(index, entry), entry.sha256, entry.size, "").check()
    except FileDamaged as error:
        what = (
            "pictures" if entry.kind == "pictures" else "files that are no pictures or unreadable"
        )
        fate = f"what is in it is looked at anew: {entry.live:,} {what}"
        warnings.append(f"{error.path}: {_difference(error)}; {fate}")
        return False
    return True


def _is_whole_graph(opened: Snapshot, entry: GraphEntry, warnings: list[str]) -> bool:
    try:
        opened.graph(entry)
    except FileDamaged as error:
        fate = f"the graph for {entry.metric} is made anew"
        warnings.append(f"{error.path}: {_difference(error)}; {fate}")
        return False
    return True


def _difference(error: FileDamaged) -> str:
    return f"damaged (expected {error.expected}, found {error.found})"
