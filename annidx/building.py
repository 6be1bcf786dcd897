"""Bring an index up to date: scan, extract what changed, make graphs, publish. Once.

Every change of a picture is a new row; the old one is marked as removed. Nothing that a reader
holds is ever written to.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from annidx import cleared, failures, intended, offline, recognition, repair, sanity, walked
from annidx import roots as rooted
from annidx.arranging import arrange, cover, missed
from annidx.changes import Known, KnownFiles
from annidx.descriptors import FINGERPRINT, descriptor
from annidx.errors import IndexDamaged, PublishRefused, UsageError
from annidx.images import extract, raw
from annidx.images.extract import Bounded, Extractor, Outcome, Task
from annidx.images.scan import Walk, is_inside
from annidx.ledger import Ledger
from annidx.model import IGNORED, READABLE, BuildReport, Progress, Record
from annidx.options import Options
from annidx.roots import PathLike
from annidx.search.chance import VERSION as CHANCES
from annidx.store import files, history, identity, journal, snapshot
from annidx.store.journal import Journal
from annidx.store.manifest import KINDS, Manifest, SegmentEntry
from annidx.store.snapshot import Snapshot
from annidx.store.writer import SegmentWriter
from annidx.survey import Carry, Survey
from annidx.workers import Again, Lost, map_items, warm_up, worker_count

log = logging.getLogger(__name__)

INTERIM_S = 600.0
"""A long build publishes what it has so far this often."""

REFRESHED = 0.1
"""Chances are measured again once so large a share of the archive has come or gone."""

_BREATH = 250  # rows carried before results of workers are looked at
_WINDOW = 8  # batches a worker that may wait for their turn: what a kill may lose besides

OnProgress = Callable[[Progress], None]


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
    PublishRefused
        When a root has lost more than it may; what was extracted waits for the next build.
    """
    options = options or Options()
    started = time.monotonic()
    resolved = [rooted.resolve(root) for root in roots]
    for metric in options.graph_metrics or ():
        descriptor(metric)
    sanity.allowed(options.max_removed, 0)
    with contextlib.suppress(IndexDamaged):  # that is mended, once the lock is held
        if resolved:
            identity.create(index)
        identity.index_id(index)
    with files.writer_lock(index, options.lock_wait_s):
        run = _Build(index, resolved, options, progress, clock)
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
        stock = repair.take_stock(index, rebuild=options.rebuild)
        self.was, self.before, self.warnings = stock.was, stock.opened, stock.warnings
        self.newest, self.damaged_pictures = stock.was, stock.damaged_pictures
        left = journal.intent(index, self.was)
        self.names = intended.descriptors(options, self.was, left.descriptors)
        if not (added or self.was.roots):
            added = left.roots
        self.graph_metrics = intended.graph_metrics(options, self.was, self.names)
        versions = {name: descriptor(name).version for name in self.names}
        self.outdated = intended.is_outdated(self.was, versions)
        self.base = replace(stock.whole, descriptors=versions)
        self.roots, self.next_root_id = rooted.merged(
            self.base.roots, added, self.base.next_root_id
        )
        if not self.roots:
            message = f'{index}: it has no roots yet. Run "annidx build FOLDER".'
            raise UsageError(message)
        paths = {root.root_id: root.path for root in (*self.base.roots, *self.roots)}
        self.known = KnownFiles(self.before)
        self.exclude = intended.exclude(options, self.was, left.exclude)
        self.journal = Journal(index, self.was, paths, self.names, self.exclude)
        self._adopt(paths)
        self._look_at_roots()
        self.by_id = {root.root_id: root for root in self.roots}
        if self.outdated and self.hidden and options.descriptors:
            message = (
                f"{os.fsdecode(self.hidden[0])} is offline, and other descriptors mean that all "
                'pictures are read anew: bring it back, or "annidx roots remove" it, first'
            )
            raise UsageError(message)
        self.workers = worker_count(options.workers)
        self.reads_raw = raw.available()  # once: it looks through all folders of packages
        self.limits, self.ordinary_bytes = extract.limits(
            options.memory, options.max_megapixels, self.workers
        )
        before = self.was.limits
        now = {"memory": self.limits.memory, "pixels": self.limits.pixels}
        self.limits_raised = any(value > before.get(name, value) for name, value in now.items())
        highest = {name: max(value, before.get(name, 0)) for name, value in now.items()}
        self.base = replace(self.base, limits=highest)
        self.writer = SegmentWriter(index, self.base.next_image_id, clock(), self.journal)
        online = [(root.root_id, root.path) for root in self.roots if root.status == "online"]
        self.walk = Walk(online, [os.fsencode(glob) for glob in self.exclude])
        quick = not (options.rebuild or self.outdated)
        self.survey = Survey(
            self.walk, self.by_id, self.known, self._anew, index / "tmp", quick=quick
        )
        self.ledger = Ledger(self.known, self.writer, self.by_id, self.names)

    def _adopt(self, paths: Mapping[int, bytes]) -> None:
        """Take over what an interrupted build had extracted; sweep whatever else it left."""
        history.sweep(self.index)
        self.first_adopted = {kind: self.known.count(kind) for kind in KINDS}
        if self.options.rebuild:
            self.journal.replace_old()
            return
        taken = SegmentWriter(self.index, self.base.next_image_id, 0, self.journal)
        next_image_id = self.base.next_image_id
        for left in journal.left_behind(self.index, self.was, paths, self.base.descriptors):
            taken.take(left.table, left.kind)
            next_image_id = max(next_image_id, left.next_image_id)
        taken.flush()
        self.journal.replace_old()
        self.journal.close()  # until there are new rows: who knows what comes before
        if taken.entries:
            segments = (*self.base.segments, *taken.entries)
            self.base = replace(self.base, segments=segments, next_image_id=next_image_id)
            roots = {root.root_id: root for root in (*self.base.roots, *self.roots)}
            with_all_roots = replace(self.base, roots=tuple(roots.values()))
            self.known = KnownFiles(Snapshot(self.index, with_all_roots))
            self.known.supersede(self.first_adopted)

    def _look_at_roots(self) -> None:
        """Mark roots that are missing or suddenly empty as offline and say so."""
        damaged = self.damaged_pictures > 0
        looked = offline.look(self.roots, self.base.roots, self.known, damaged=damaged)
        self.roots = looked.roots
        self.hidden = [root.path for root in looked.trouble]  # their pictures are kept unseen
        self.warnings += looked.warnings(damaged=damaged, outdated=self.outdated)

    def extract(self) -> None:
        """Walk, decide, and let the workers look at what is new or changed."""
        if not self.was.segments:  # a first build: all there is goes to the workers
            warm_up(extract.PRELOAD)
        self.waiting: deque[Task] = deque()
        outcomes: Generator[Outcome, None, None] = map_items(
            Bounded(Extractor(self.names, self.limits, self.ordinary_bytes)),
            extract.batches(self._tasks()),
            workers=self.workers,
            timeout_s=lambda task: extract.time_limit(task, self.options.timeout_s),
            on_lost=_lost,
            preload=extract.PRELOAD,
            window=_WINDOW * (self.workers + 1),
        )
        interim_at = time.monotonic() + INTERIM_S
        try:
            for outcome in outcomes:
                self.ledger.book(self.waiting.popleft(), outcome)
                self._tell("extract")
                if time.monotonic() > interim_at and not self.outdated:
                    self._publish_interim()
                    interim_at = time.monotonic() + INTERIM_S
            self.ledger.settle()
            self._keep_unseen()
        finally:
            outcomes.close()
            self.survey.stop()  # by name: an exception keeps the generators alive
            self.ledger.settle()
            self.writer.checkpoint()  # interrupted or not: the next build finds it
            self.journal.close()

    def _tasks(self) -> Iterator[Task | None]:
        """Yield what the workers are to look at, None now and then; carry what stands between."""
        carried = 0
        for item in self.survey.items():
            if isinstance(item, Carry):  # at once: there may be a million, and a task takes long
                self.ledger.carry(item.known, item.file, item.known.read_ns)
                carried += 1
                if carried % _BREATH == 0:
                    yield None
            else:
                if item is not None:
                    self.waiting.append(item)
                yield item
            self._tell("extract")

    def _keep_unseen(self) -> None:
        """Keep what lies in roots that are offline and in folders that could not be listed."""
        if self.outdated:
            return
        by_path = {root.path: root_id for root_id, root in self.by_id.items()}
        for path, known in list(self.known.unsettled([*self.hidden, *self.walk.unlisted])):
            if known.file.root_id in self.by_id:
                self.known.keep(known)
                continue
            # Its root has been merged into one above.
            root = next(each for each in by_path if is_inside(path, each))
            relative = path[len(root.rstrip(b"/")) + 1 :]
            file = replace(known.file, root_id=by_path[root], path=relative)
            self.ledger.carry(known, file, known.read_ns)
        self.ledger.settle()

    def _publish_interim(self) -> None:
        """Publish what is done so far together with what still waits, and with the old graphs."""
        try:
            self._refuse_losses(interim=True)
        except PublishRefused:
            return  # said at the end
        self.ledger.settle()
        self.writer.flush()
        pictures = self.known.entries("pictures", interim=True)[1]
        other = self.known.entries("other", interim=True)[1]
        manifest = self._manifest([*pictures, *other, *self.writer.entries])
        # A root that was merged into one above stays until its last picture was handed over.
        roots = {**{root.root_id: root for root in self.base.roots}, **self.by_id}
        manifest = replace(manifest, roots=tuple(roots.values()), graphs=self.base.graphs)
        ended = self.was.number if self.was.interim_of is None else self.was.interim_of
        self.newest = snapshot.publish(self.index, manifest, interim_of=ended)
        self.journal.restart(self.newest)

    def _anew(self, known: Known | None) -> bool:
        """Tell whether a file is to be extracted whatever is known of it."""
        if known is not None and known.row >= self.first_adopted[known.kind]:
            return False
        if self.options.rebuild or self.outdated:
            return True
        if known is None:
            return False
        again = {
            "raw-unsupported": self.reads_raw,  # installed since
            "too-large": self.limits_raised or self.options.retry_failed,
        }
        failed = known.status not in READABLE | IGNORED
        return again.get(known.status, failed and self.options.retry_failed)

    def publish(self) -> tuple[Manifest, bool]:
        """Write the last segments and the graphs, and publish; a no-op when nothing changed."""
        self._refuse_losses()
        if self.writer.has_rows or self.known.removed_pictures():
            self.ledger.refresh()
        anew = self.options.rebuild_graphs
        arranged = arrange(self.known, self.writer, self.names, self.was.graphs, anew=anew)
        manifest = self._manifest(arranged.segments)
        opened = Snapshot(self.index, manifest)
        self.new_failures = failures.new(self._last_ended(), opened)
        graphs = cover(
            *(opened, arranged.groups, () if anew else self.base.graphs),
            threads=self.workers,
            min_recall=self.options.min_recall,
            tell=lambda: self._tell("graph"),
        )
        fresh = [entry for entry in graphs if entry not in self.was.graphs]
        self.warnings += [missed(entry) for entry in fresh if not entry.usable]
        manifest = replace(manifest, graphs=tuple(graphs), chance=self._chance(opened))
        published = not _same_state(manifest, self.newest)
        if published:
            self._tell("publish")
            manifest = snapshot.publish(self.index, manifest)
        self.journal.restart(manifest)
        self._prune()
        current = manifest if published else self.newest
        if not (self.hidden or self.walk.unlisted):
            with contextlib.suppress(OSError):  # what it is about is published, or was before
                walked.note(self.index, current.number, self.clock())
        return current, published

    def _chance(self, opened: Snapshot) -> Mapping[str, Any] | None:
        """Return what scores mean in the archive, measured again once it has changed by a tenth."""
        pictures, was = int(opened.pictures.live.sum()), self.base.chance
        if FINGERPRINT.name not in self.names or pictures < 2:
            return None
        if (
            was is not None
            and was.get("version") == CHANCES
            and abs(pictures - was["pictures"]) <= REFRESHED * was["pictures"]
        ):
            return was
        self._tell("chance")
        return recognition.measured(opened)

    def _last_ended(self) -> Snapshot:
        """Return the snapshot of the last build that came to its end, as far as it is there."""
        if self.was.interim_of is None:
            return self.before
        listed = {each.number: each.manifest for each in history.listing(self.index)}
        manifest = listed.get(self.was.interim_of) or Manifest(0, "")
        with contextlib.suppress(IndexDamaged):
            ended = Snapshot(self.index, manifest)
            failures.new(ended, ended)
            return ended
        return self.before

    def _refuse_losses(self, *, interim: bool = False) -> None:
        losses = self.known.losses(
            *(self.was.next_image_id, self.walk.excludes),
            interim=interim,
            cleared=partial(cleared.paths, self.index),
        )
        online = {root.path for root in self.roots if root.status == "online"}
        present = [each for each in losses if any(is_inside(each.root, root) for root in online)]
        objections = [
            sanity.unmended(self.damaged_pictures, self._added(), self.options.max_removed),
            sanity.objection(present, self.options.max_removed),
        ]
        if any(objections) and not self.options.force:
            message = (
                f"{'; '.join(filter(None, objections))}. "
                f"This is not published, snapshot {self.newest.number} stays. Is all "
                "mounted that should be? If it is meant: annidx build --force"
            )
            raise PublishRefused(message)

    def _added(self) -> int:
        """Count the pictures that the snapshot before did not have, so far."""
        first = self.first_adopted["pictures"]
        return self.ledger.added + self.known.kept_from(first, self.was.next_image_id)

    def _prune(self) -> None:
        broken = history.prune(self.index, self.clock() / 1e9).broken
        if broken:
            numbers = ", ".join(map(str, broken))
            self.warnings.append(f"snapshots that were not whole are removed: {numbers}")

    def _manifest(self, segments: Sequence[SegmentEntry]) -> Manifest:
        now = datetime.fromtimestamp(self.clock() / 1e9, UTC)
        manifest = replace(
            self.base,
            created=now.isoformat(timespec="seconds"),
            roots=tuple(self.roots),
            segments=tuple(segments),
            graphs=(),
            next_image_id=self.writer.next_image_id,
            next_root_id=self.next_root_id,
            left_out=self._left_out(),
            exclude=self.exclude,
            graph_metrics=self.graph_metrics,
        )
        return replace(manifest, counts=rooted.counts(Snapshot(self.index, manifest)))

    def _left_out(self) -> dict[str, int]:
        found = dict(self.walk.left_out)  # a copy: the walk may go on while this is counted
        found["vanished"] = found.get("vanished", 0) + self.ledger.vanished
        return {reason: n for reason, n in sorted(found.items()) if n}

    def _tell(self, stage: str) -> None:
        if self.progress is not None:
            survey, ledger = self.survey, self.ledger
            sizes = ledger.done_bytes, survey.found_bytes
            found = survey.found, *sizes, ledger.failed, survey.walking
            self.progress(Progress(stage, ledger.done, *found))

    def report(self, manifest: Manifest, *, published: bool, seconds: float) -> BuildReport:
        """Sum up."""
        by_status = manifest.counts
        first = self.first_adopted["pictures"]
        left_out = self._left_out()
        left_out.update({each: by_status[each] for each in sorted(IGNORED & set(by_status))})
        return BuildReport(
            images=sum(by_status.get(status, 0) for status in READABLE),
            added=self._added(),
            adopted=self.known.kept_from(first),
            removed=self.known.removed_pictures(),
            failed=sum(n for each, n in by_status.items() if each not in READABLE | IGNORED),
            new_failures=self.new_failures,
            decoded=self.ledger.decoded,
            hashed=self.ledger.hashed,
            segments=len(manifest.segments),
            snapshot=manifest.number,
            published=published,
            left_out=left_out,
            warnings=[*self.warnings, *self.walk.problems],
            seconds=seconds,
        )


def _lost(task: Task, lost: Lost) -> Outcome | Again[Task]:
    if lost.reason == "crashed" and not task.alone:
        return Again(replace(task, alone=True))  # perhaps it was killed for another one's memory
    return Record(task.file, time.time_ns(), lost.reason, lost.detail)


def _same_state(manifest: Manifest, before: Manifest) -> bool:
    """Tell whether two manifests differ only in when they were made and what the walk left out."""
    if before.interim_of is not None:
        return False
    number, created, left_out = before.number, before.created, before.left_out
    return replace(manifest, number=number, created=created, left_out=left_out) == before
