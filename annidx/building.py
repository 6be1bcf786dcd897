"""Bring an index up to date: scan, extract what changed, make graphs, publish. Once.

Every change of a picture is a new row; the old one is marked as removed. Nothing that a reader
holds is ever written to.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from annidx import graphs
from annidx import roots as rooted
from annidx.changes import Known, KnownFiles, decide
from annidx.descriptors import DEFAULT_METRIC, DESCRIPTORS, descriptor
from annidx.errors import IndexDamaged
from annidx.images import extract
from annidx.images.extract import Outcome, Task, Unchanged, Vanished
from annidx.images.scan import Walk, is_inside
from annidx.model import IGNORED, READABLE, BuildReport, File, Progress, Record
from annidx.roots import PathLike
from annidx.store import files, snapshot
from annidx.store.manifest import GraphEntry, Manifest, Root, SegmentEntry
from annidx.store.snapshot import Snapshot
from annidx.store.writer import SegmentWriter
from annidx.workers import Lost, map_items, worker_count

log = logging.getLogger(__name__)

INTERIM_S = 600.0
"""A long first build publishes what it has so far this often."""

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a build.

    Attributes
    ----------
    exclude : Sequence of str, optional
        Globs to leave out; None: those remembered from the last build.
    graph_metrics : Sequence of str, optional
        Metrics to make graphs for; the default metric always has one. None: as last time.
    workers : int, optional
        Worker processes and graph threads; None: the processors of this machine.
    timeout_s : float
        For one picture.
    lock_wait_s : float
        How long to wait for another build to end.
    rebuild : bool
        Extract everything anew; also what mends a damaged index.
    retry_failed : bool
        Look again at files that could not be read, though they have not changed.
    rebuild_graphs : bool
        Make all graphs anew.
    """

    exclude: Sequence[str] | None = None
    graph_metrics: Sequence[str] | None = None
    workers: int | None = None
    timeout_s: float = 60.0
    lock_wait_s: float = 0.0
    rebuild: bool = False
    rebuild_graphs: bool = False
    retry_failed: bool = False


def build(
    roots: Sequence[PathLike],
    index: Path,
    options: Options | None = None,
    *,
    progress: OnProgress | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> BuildReport:
    """Bring an index up to date with its roots.

    Parameters
    ----------
    roots : Sequence of path
        Folders to add to those that the index knows; nested ones merge. May be empty.
    index : Path
        The index directory; made when it does not exist.
    options : Options
    progress : callable, optional
        Called with the state after every file.
    clock : callable
        Nanoseconds since 1970.

    Raises
    ------
    FolderNotFound, IndexLocked, IndexDamaged, IndexTooNew, IndexNotFound
    """
    chosen = options or Options()
    started = time.monotonic()
    resolved = [rooted.resolve(root) for root in roots]
    for metric in chosen.graph_metrics or ():
        descriptor(metric)
    if resolved:
        snapshot.create(index)
    snapshot.check_format(index)
    with files.writer_lock(index, chosen.lock_wait_s):
        files.sweep(index, snapshot.named_files(index))
        run = _Build(index, resolved, chosen, progress, clock)
        run.extract()
        manifest, published = run.publish()
    return run.report(manifest, published=published, seconds=time.monotonic() - started)


class _Build:
    """One build while it goes on: what it found, what it counted, what it will publish."""

    def __init__(
        self,
        index: Path,
        added: Sequence[bytes],
        options: Options,
        progress: OnProgress | None,
        clock: Callable[[], int],
    ) -> None:
        self.index, self.options, self.progress, self.clock = index, options, progress, clock
        self.warnings: list[str] = []
        self.was, opened = self._open()
        versions = {each.name: each.version for each in DESCRIPTORS.values()}
        # Vectors of another version are never compared: nothing of the old segments can stay.
        self.outdated = bool(self.was.segments) and self.was.descriptors != versions
        base = replace(self.was, descriptors=versions)
        self.base = base
        self.known = KnownFiles(opened)
        self.roots, self.next_root_id = rooted.merged(base.roots, added, base.next_root_id)
        self.writer = SegmentWriter(index, base.next_image_id, clock())
        self._look_at_roots()
        exclude = base.exclude if options.exclude is None else options.exclude
        self.exclude = tuple(glob for glob in exclude if glob)
        online = [(root.root_id, root.path) for root in self.roots if root.status == "online"]
        self.walk = Walk(online, [os.fsencode(glob) for glob in self.exclude])
        self.found = self.found_bytes = self.done = self.done_bytes = 0
        self.added = self.decoded = self.hashed = self.failed = 0

    def _open(self) -> tuple[Manifest, Snapshot]:
        """Open what there is; --rebuild goes on without whatever is damaged."""
        manifest = Manifest(0, "")
        try:
            manifest = snapshot.current_manifest(self.index) or manifest
            return manifest, Snapshot(self.index, manifest)
        except IndexDamaged as error:
            if not self.options.rebuild:
                raise
            self.warnings.append(f"{error} Extracting everything anew.")
        empty = replace(manifest, segments=(), graphs=())
        return empty, Snapshot(self.index, empty)

    def _look_at_roots(self) -> None:
        """Mark roots that are missing or suddenly empty as offline and say so."""
        self.hidden: list[bytes] = []  # folders whose pictures are kept unseen
        # An offline root inside a new one is merged when it is back: until then it must be known.
        merged_away = [root for root in self.base.roots if root.path not in self._root_paths()]
        self.roots += [root for root in merged_away if self._trouble(root)]
        self.roots.sort(key=lambda root: root.path)
        for at, root in enumerate(self.roots):
            trouble = self._trouble(root)
            self.roots[at] = replace(root, status="offline" if trouble else "online")
            if trouble:
                self.hidden.append(root.path)
                self.warnings.append(
                    f"{os.fsdecode(root.path)} {trouble}: its pictures are kept as they were. "
                    'Bring it back, or use "annidx roots move" or "annidx roots remove".'
                )

    def _root_paths(self) -> dict[bytes, int]:
        return {root.path: root.root_id for root in self.roots}

    def _trouble(self, root: Root) -> str:
        if not os.path.isdir(root.path):
            return "is missing"
        try:
            if not os.listdir(root.path) and self.known.any_inside(root.path):
                return "is suddenly empty"
        except OSError:
            return ""  # the walk will say that it cannot be listed
        return ""

    def extract(self) -> None:
        """Walk, decide, and let the workers look at what is new or changed."""
        tasks = list(self._tasks())
        outcomes = map_items(
            extract.extract,
            extract.batches(tasks),
            workers=worker_count(self.options.workers),
            timeout_s=self.options.timeout_s,
            on_lost=_lost,
            preload=("annidx.images.extract",),
        )
        self._keep_unseen(waiting=False)
        interim_at = time.monotonic() + INTERIM_S
        for task, outcome in zip(tasks, outcomes, strict=True):
            self._take(task, outcome)
            if time.monotonic() > interim_at and not self.outdated:
                self._publish_interim()
                interim_at = time.monotonic() + INTERIM_S
        self._keep_unseen(waiting=True)  # what was looked for elsewhere and not found there

    def _keep_unseen(self, *, waiting: bool) -> None:
        """Keep what lies in roots that are offline and in folders that could not be listed."""
        if self.outdated:
            return
        by_path = self._root_paths()
        folders = [*self.hidden, *self.walk.unlisted]
        for path, known in list(self.known.inside(folders, waiting=waiting)):
            if known.file.root_id in by_path.values():
                self.known.keep(known)
                continue
            # Its root has been merged into one above.
            root = next(each for each in by_path if is_inside(path, each))
            relative = path[len(root.rstrip(b"/")) + 1 :]
            file = replace(known.file, root_id=by_path[root], path=relative)
            self._carry(known, file, known.read_ns)

    def _publish_interim(self) -> None:
        """Publish what is done so far together with what still waits, and with the old graphs."""
        self.writer.flush()
        pictures = self.known.entries("pictures", interim=True)[1]
        other = self.known.entries("other", interim=True)[1]
        manifest = self._manifest([*pictures, *other, *self.writer.entries])
        snapshot.publish(self.index, replace(manifest, graphs=self.base.graphs))

    def _tasks(self) -> Iterator[Task]:
        """Walk the roots; keep or carry what is known, yield what must be looked at."""
        paths = {root.root_id: root.path for root in self.roots}
        moved = {root.root_id for root in self.roots if root.moved}
        for file in self.walk.files():
            root = paths[file.root_id]
            known = self.known.at(os.path.join(root, file.path))
            decision = decide(file, known, moved=file.root_id in moved, anew=self._anew(known))
            if known is not None and decision == "keep":
                self.known.keep(known)
            elif known is not None and decision == "carry":
                self._carry(known, file, known.read_ns)
            else:
                known = known or self.known.renamed(file)
                if known:
                    self.known.wait(known)
                self.found += 1
                self.found_bytes += file.size
                expected = known.content_hash if known and not self._anew(known) else b""
                yield Task(file, root, expected)

    def _anew(self, known: Known | None) -> bool:
        if self.options.rebuild or self.outdated:
            return True
        failed = known is not None and known.status not in READABLE | IGNORED
        return self.options.retry_failed and failed

    def _take(self, task: Task, outcome: Outcome) -> None:
        """Book what became of one file."""
        self.done += 1
        self.done_bytes += task.file.size
        known = self.known.at(task.path) or self.known.renamed(task.file)
        if isinstance(outcome, Vanished):
            self.walk.left_out["vanished"] += 1
        elif isinstance(outcome, Unchanged):
            self.hashed += 1
            self._unchanged(known, outcome)
        elif known and (known.status, known.file) == (outcome.status, outcome.file):
            self._same(task, known, outcome)
        else:
            self._add(task, outcome, known)
        self._tell("extract")

    def _unchanged(self, known: Known | None, outcome: Unchanged) -> None:
        if known is None:  # pragma: no cover - content is only expected where a row is known
            return
        if outcome.file == known.file:
            self.known.keep(known)
        else:
            self._carry(known, outcome.file, outcome.read_ns)

    def _same(self, task: Task, known: Known, record: Record) -> None:
        """Keep a young file that is no picture, or as broken as before; else its bytes changed."""
        if record.status in READABLE or record.content_hash != known.content_hash:
            self._add(task, record, known)
        else:
            self.known.keep(known)

    def _add(self, task: Task, record: Record, known: Known | None) -> None:
        """Write what a file holds now; the same content keeps its number."""
        same = known is not None and record.content_hash == known.content_hash != bytes(32)
        if known is not None and same and not self.known.lives_on(known):
            number, first_seen_ns = known.image_id, known.first_seen_ns
            record = replace(record, image_id=number, first_seen_ns=first_seen_ns)
        here = known is not None and known is self.known.at(task.path)
        if known is not None and (same or here):
            self.known.rewrite(known)
        if record.status in READABLE:
            self.added += not same
            self.decoded += 1
        elif record.status not in IGNORED:
            self.failed += 1
        self.writer.add(record)

    def _carry(self, known: Known, file: File, read_ns: int) -> None:
        """Write a known row anew under new facts, without decoding the picture."""
        record = replace(self.known.record(known), file=file, read_ns=read_ns)
        if self.known.lives_on(known):  # a copy took the place of the file that was moved away
            record = replace(record, image_id=-1)
        self.known.rewrite(known)
        self.writer.add(record)

    def publish(self) -> tuple[Manifest, bool]:
        """Write the last segments and the graphs, and publish; a no-op when nothing changed."""
        kept = [
            *self.writer.absorb(*self.known.entries("pictures")),
            *self.writer.absorb(*self.known.entries("other")),
        ]
        self.writer.flush()
        manifest = self._manifest([*kept, *self.writer.entries])
        opened = Snapshot(self.index, manifest)
        manifest = replace(manifest, graphs=tuple(self._graphs(opened)))
        if _same_state(manifest, self.was):
            return self.was, False
        self._tell("publish")
        return snapshot.publish(self.index, manifest), True

    def _manifest(self, segments: Sequence[SegmentEntry]) -> Manifest:
        now = datetime.fromtimestamp(self.clock() / 1e9, UTC)
        metrics = self.options.graph_metrics
        remembered = self.base.graph_metrics if metrics is None else metrics
        manifest = replace(
            self.base,
            created=now.isoformat(timespec="seconds"),
            roots=tuple(self.roots),
            segments=tuple(segments),
            graphs=(),
            next_image_id=self.writer.next_image_id,
            next_root_id=self.next_root_id,
            left_out=dict(sorted(self.walk.left_out.items())),
            exclude=self.exclude,
            graph_metrics=tuple(sorted({DEFAULT_METRIC, *remembered})),
        )
        return replace(manifest, counts=rooted.counts(Snapshot(self.index, manifest)))

    def _graphs(self, opened: Snapshot) -> list[GraphEntry]:
        if not opened.pictures.live.any():
            return []
        old = {entry.metric: entry for entry in self.base.graphs}
        entries = []
        for metric in opened.manifest.graph_metrics:
            entry = old.get(metric)
            if entry is None or self.options.rebuild_graphs or graphs.is_stale(opened, entry):
                self._tell("graph")
                threads = worker_count(self.options.workers)
                entry = graphs.make(opened, metric, threads=threads)
            if not entry.usable:
                self.warnings.append(
                    f"the graph for {metric} missed its target (recall {entry.recall}, "
                    f"{entry.found_itself:.4f} find themselves) and is not used: "
                    f"{metric} is answered by the exact engine."
                )
            entries.append(entry)
        return entries

    def _tell(self, stage: str) -> None:
        if self.progress is not None:
            sizes = self.done_bytes, self.found_bytes
            self.progress(Progress(stage, self.done, self.found, *sizes, self.failed))

    def report(self, manifest: Manifest, *, published: bool, seconds: float) -> BuildReport:
        """Sum up."""
        by_status = manifest.counts
        left_out = {**self.walk.left_out}
        left_out.update({each: by_status[each] for each in sorted(IGNORED & set(by_status))})
        return BuildReport(
            images=sum(by_status.get(status, 0) for status in READABLE),
            added=self.added,
            removed=self.known.removed_pictures(),
            failed=failed_files(by_status),
            decoded=self.decoded,
            hashed=self.hashed,
            segments=len(manifest.segments),
            snapshot=manifest.number,
            published=published,
            left_out=left_out,
            warnings=[*self.warnings, *self.walk.problems],
            seconds=seconds,
        )


def failed_files(by_status: Mapping[str, int]) -> int:
    """Count the files that are or claim to be pictures and could not be read."""
    return sum(n for status, n in by_status.items() if status not in READABLE | IGNORED)


def _lost(task: Task, lost: Lost) -> Outcome:
    return Record(task.file, time.time_ns(), lost.reason, lost.detail)


def _same_state(manifest: Manifest, before: Manifest) -> bool:
    """Tell whether two manifests differ only in when they were made and what the walk left out."""
    number, created, left_out = before.number, before.created, before.left_out
    return replace(manifest, number=number, created=created, left_out=left_out) == before
