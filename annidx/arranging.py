"""The last part of a build: segments merged and graphs made, as :mod:`annidx.layout` decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from annidx import graphs, layout
from annidx.changes import KnownFiles
from annidx.layout import Size
from annidx.store.manifest import KINDS, GraphEntry, SegmentEntry
from annidx.store.snapshot import Snapshot
from annidx.store.writer import SegmentWriter


@dataclass(frozen=True, slots=True)
class Arranged:
    """The segments of the snapshot to come, and what is to have graphs.

    Attributes
    ----------
    segments : list of SegmentEntry
        Those that graphs cover come first, each graph's side by side.
    groups : list of tuple of str
        For each graph of a metric the segments that it covers.
    """

    segments: list[SegmentEntry]
    groups: list[tuple[str, ...]]


def arrange(
    known: KnownFiles,
    writer: SegmentWriter,
    names: Sequence[str],
    entries: Sequence[GraphEntry],
    *,
    anew: bool,
) -> Arranged:
    """Write what waits, together with the old segments that are to be merged.

    Parameters
    ----------
    known : KnownFiles
        The old rows, of which those that live on are marked.
    writer : SegmentWriter
        Has all new rows.
    names : Sequence of str
        The descriptors that the index holds.
    entries : Sequence of GraphEntry
        The graphs of the snapshot before.
    anew : bool
        True when none of them may stay.
    """
    for kind in KINDS:
        writer.take_back(kind, names)
    rowset, old = known.entries("pictures")
    groups = layout.groups_of([each.sha256 for each in old], [each.segments for each in entries])
    plan = layout.plan(
        [Size(each.rows, each.live) for each in old],
        groups,
        waiting=writer.waiting("pictures"),
        written=writer.written,
        anew=anew,
    )
    writer.absorb(rowset, [old[at] for at in plan.rewritten], names)
    kept = [groups[at] for at in plan.kept]
    covered = [place for group in kept for place in group]
    rest = [at for at in range(len(old)) if at not in {*covered, *plan.rewritten}]

    others, old_others = known.entries("other")
    sizes = [Size(each.rows, each.live) for each in old_others]
    merged = layout.merged(sizes, writer.waiting("other"))
    writer.absorb(others, [old_others[at] for at in merged], names)
    writer.flush()

    tail = [*[old[at] for at in rest], *[e for e in writer.entries if e.kind == "pictures"]]
    named = [tuple(old[at].sha256 for at in group) for group in kept]
    if plan.cover:
        named.append(tuple(each.sha256 for each in tail))
    stay = [each for at, each in enumerate(old_others) if at not in merged]
    fresh = [each for each in writer.entries if each.kind == "other"]
    return Arranged([*[old[at] for at in covered], *tail, *stay, *fresh], named)


def cover(
    opened: Snapshot,
    groups: Sequence[tuple[str, ...]],
    entries: Sequence[GraphEntry],
    *,
    threads: int,
    min_recall: float,
    tell: Callable[[], None],
) -> list[GraphEntry]:
    """Return a graph for each group of segments and each metric that is to have them.

    Parameters
    ----------
    opened : Snapshot
        The snapshot to come.
    groups : Sequence of tuple of str
    entries : Sequence of GraphEntry
        Graphs that there are, all of them whole.
    threads : int
    min_recall : float
        Graphs whose measured recall lies wholly under it are made anew, or not used.
    tell : callable
        Called before a graph is made, which takes long.
    """
    there = {(each.metric, each.segments): each for each in entries}
    found = []
    for metric in opened.manifest.graph_metrics:
        for group in groups:
            known = there.get((metric, group))
            entry = None if known is None else graphs.judged(known, min_recall)
            if entry is None:
                tell()
                entry = graphs.make(opened, metric, group, threads=threads, min_recall=min_recall)
            if entry is not None:
                found.append(entry)
    return found


def missed(entry: GraphEntry) -> str:
    """Return the warning about a graph that is not usable."""
    return (
        f"a graph for {entry.metric} missed its target (recall {entry.recall}, "
        f"{entry.found_itself:.4f} find themselves) and is not used: its {entry.nodes:,} vectors "
        "are searched by the exact engine. annidx build --rebuild-graphs tries again."
    )
