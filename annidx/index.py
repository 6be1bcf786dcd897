"""An open snapshot that answers questions: what the public API and the service hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from annidx import answers, asking, queries
from annidx import selection as selecting
from annidx.answers import Asked
from annidx.asking import (
    GroupOptions,
    HasOptions,
    NeighbourOptions,
    PairOptions,
    QueryOptions,
    Search,
    VectorOptions,
)
from annidx.catalogue import Catalogue
from annidx.descriptors import SIGNATURE, THUMB, Descriptor, default_metric, descriptor
from annidx.engines import Engines, Joined, Measured
from annidx.found import Answer, Groups, Matches, Neighbours, Pairs
from annidx.kinds import DUPLICATES, KINDS, Explanation, Kind
from annidx.model import IGNORED, Engine, Record
from annidx.nearest import Nearest, limited
from annidx.pairlist import OrderedPairs
from annidx.search import confirm
from annidx.search import groups as grouping
from annidx.search.recall import SAMPLE
from annidx.search.selfjoin import RowPairs
from annidx.search.sightings import Sightings
from annidx.search.vectors import Stored
from annidx.selection import PairFilter, Selection
from annidx.store.manifest import Manifest
from annidx.store.snapshot import Snapshot
from annidx.store.tables import pairs_table


class Index:
    """One snapshot of an index, read-only and safe to share between threads.

    Parameters
    ----------
    snapshot : Snapshot
        An open one; :func:`annidx.open` gives the newest.
    progress : callable, optional
        See :func:`annidx.open`.

    Attributes
    ----------
    snapshot : Snapshot
    engines : Engines
        What searches it.
    """

    def __init__(
        self, snapshot: Snapshot, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.snapshot = snapshot
        self.engines = Engines(snapshot, progress)
        self._selection = Selection(snapshot)
        self._catalogue = Catalogue(snapshot)

    @property
    def manifest(self) -> Manifest:
        """What the snapshot consists of."""
        return self.snapshot.manifest

    @property
    def pictures(self) -> int:
        """Number of readable pictures."""
        return self.engines.pictures

    def __len__(self) -> int:
        return self.pictures

    def __repr__(self) -> str:
        where, number = str(self.snapshot.index), self.manifest.number
        return f"<annidx.Index {where!r}: {self.pictures} pictures, snapshot {number}>"

    def query(self, source: Any, **options: Unpack[QueryOptions]) -> Matches:
        """Return the nearest pictures of one picture.

        Parameters
        ----------
        source : path, bytes, PIL image or array
            A path (str or os.PathLike), the bytes of a picture file, a PIL image, or an
            (h, w, 3) or (h, w) uint8 array. It need not be in the archive; when it is, it is not
            its own neighbour.
        k : int or None
            At most so many pictures, by default 10; None for all within the cutoff.
        cutoff : float, optional
            Inclusive distance limit in the metric's unit; by default the metric's own.
        match : {'exact', 'strict', 'normal', 'loose'}, optional
            A cutoff by name, see :attr:`annidx.descriptors.Descriptor.presets`. 'exact': only
            pictures of the same bytes, metadata aside.
        metric : str, optional
            'fingerprint', 'thumb', 'signature', or another descriptor that the index holds. By
            default the fingerprint if it holds that, and the thumb where a cutoff or transforms are
            given.
        exact : bool
            Scan everything instead of asking the graph.
        engine : {'auto', 'graph', 'exact'}
            What is to search; by default the planner chooses.
        views : {'fast', 'default', 'thorough'}
            What metric 'fingerprint' tries: the pictures as they are; also all flips and turns of
            them, and crops; also turned crops.
        false_pairs, fpr : float, optional
            The most `chance` of a match by fingerprint: that many unrelated pairs expected in the
            whole archive (by default 1), or that share of all its pairs. With `match`: .01, 1, 100.
        where : Filter, optional
            Only these pictures are found, as if there were no others.
        transforms : {'none', 'flips', 'rotations', 'all'}
            Also what is near to the query when that is flipped ('flips'), turned by 90, 180 or 270
            degrees ('rotations'), or both. A match says which transform of the query it was; each
            picture is found once, by the one that is nearest.
        kinds : sequence of str
            Only matches of these kinds, some of :data:`annidx.kinds.KINDS`; by default all.
        limit : int, optional
            At most so many matches; of several queries, the nearest of all.
        companions : bool
            Also its companions, when it is a file of the archive: the JPEG or HEIC that a camera
            wrote beside its RAW under the same stem, or that RAW. By default they are left out,
            and counted in the answer's `companions_left_out`.
        decided : bool
            Also what was decided to be no duplicate of it ("annidx decide --not-duplicate").

        Returns
        -------
        Matches
            By (distance, path bytes).

        Raises
        ------
        PictureUnreadable, UsageError, IndexDamaged
        """
        return self.query_many([source], **options)[0]

    def query_many(self, sources: Sequence[Any], **options: Unpack[QueryOptions]) -> list[Matches]:
        """Return the nearest pictures of several pictures, in one pass; see :meth:`query`.

        A source may also be a record that :func:`annidx.queries.read_query` made for this metric.
        """
        return self._nearest(sources, self._wanted(QueryOptions, options))

    def query_vectors(
        self, vectors: npt.ArrayLike, **options: Unpack[VectorOptions]
    ) -> list[Matches]:
        """Return the nearest pictures of descriptors that were computed elsewhere.

        Parameters
        ----------
        vectors : (n, d) array
            'thumb': (n, 1200) uint8. 'signature': (n, 272) int8 in -2..2. 'gray8', 'gray16',
            'gray20': (n, 64), (n, 256), (n, 400) uint8.
        k, cutoff, match, metric, exact, engine, where, transforms, limit
            See :meth:`query`. What compares bytes or pixel sizes is refused: a vector has neither.

        Raises
        ------
        UsageError
            For another shape or dtype, or values out of range.
        """
        wanted = replace(self._wanted(VectorOptions, options), companions=True)
        measure, limit = self._checked(wanted)
        stored = queries.encoded(measure, vectors)
        asked = [Asked(f"<vector {at}>") for at in range(len(stored))]
        return self._matches(measure, limit, stored, asked, wanted)

    def picture(self, image_id: int) -> Record:
        """Return a picture of the index by its number, as a source for :meth:`query`.

        Raises
        ------
        PictureNotFound
        """
        return self._catalogue.record(image_id)

    def pictures_of(self, image_ids: Sequence[int]) -> list[Record]:
        """Return several pictures in the order given, in one pass; see :meth:`picture`."""
        return self._catalogue.records(image_ids)

    def picture_ids(self) -> npt.NDArray[np.int64]:
        """Return the numbers of the readable pictures, ascending."""
        return self._catalogue.numbers

    def has(self, source: Any, **options: Unpack[HasOptions]) -> Matches:
        """Tell whether the archive has a picture; see :meth:`query` for the options.

        Returns
        -------
        Matches
            The nearest match within the cutoff, or none; `nearest` is set either way, unless the
            archive is empty. By metric 'fingerprint', one beyond the cutoff is the nearest thumb.
        """
        return self.has_many([source], **options)[0]

    def has_many(self, sources: Sequence[Any], **options: Unpack[HasOptions]) -> list[Matches]:
        """Tell of several pictures whether the archive has them, in one pass; see :meth:`has`."""
        wanted = replace(self._wanted(HasOptions, options), k=1)
        measure, _ = self._checked(wanted)
        records = [queries.read_query(source, wanted.metric) for source in sources]
        found = self._nearest(records, wanted)
        rest = [record for record, each in zip(records, found, strict=True) if not each]
        beyond = iter(self._nearest(rest, _beyond(wanted, measure)))
        nearest = [each.matches or next(beyond).matches for each in found]
        return [
            replace(each, nearest=near[0] if near else None)
            for each, near in zip(found, nearest, strict=True)
        ]

    def neighbours(self, **options: Unpack[NeighbourOptions]) -> Neighbours:
        """Return the k nearest neighbours under the cutoff of every picture, by path.

        Pictures without neighbours are left out. See :meth:`query` and :meth:`pairs` for the
        options; `limit` counts neighbours.
        """
        wanted = self._wanted(NeighbourOptions, options)
        started = time.monotonic()
        measure, limit, (found, engine, _), left_out = self._join(wanted)
        parts = answers.neighbours(
            self.snapshot, found, wanted.metric, k=wanted.k, explain=self._explain
        )
        answer = self._answer(measure, limit, wanted, engine, started, left_out=left_out)
        every = limited([part.under(answer, wanted.k) for part in parts], wanted.limit)
        complete = all(each.answer.complete for each in every)
        return Neighbours(tuple(filter(None, every)), replace(answer, complete=complete))

    def find_pairs(self, **options: Unpack[PairOptions]) -> Pairs:
        """Return all pairs within the cutoff as objects; see :meth:`pairs`."""
        wanted = replace(self._wanted(PairOptions, options), k=None)
        started = time.monotonic()
        measure, limit, joined, left_out = self._join(wanted, nearest=wanted.limit)
        ordered = OrderedPairs(
            self.snapshot, joined.pairs, wanted.metric, wanted.limit, self._explain
        )
        complete, engine = len(ordered) == joined.found, joined.engine
        answer = self._answer(measure, limit, wanted, engine, started, complete, left_out)
        return Pairs(ordered, answer)

    def pairs(self, **options: Unpack[PairOptions]) -> Any:
        """Return all pairs of pictures within the cutoff, nearest first.

        Parameters
        ----------
        cutoff, match, metric, engine, views, false_pairs, fpr, kinds
            See :meth:`query`.
        exact : bool
            Compare every pair, without boxes or projection: slow, and the same pairs.
        where : Filter, optional
            Only pairs of these pictures.
        between : (folder, folder), optional
            Only pairs of a picture in the first folder and one in the second, however deep they
            lie; a file will do.
        reference : folder or sequence of folders
            Pictures there are not compared with each other: one of each pair lies elsewhere. In
            groups they are marked, and never count as bytes that could be freed.
        since : str, date or datetime, optional
            Only pairs of which one picture at least was first seen by a build that began then or
            later: '2026-11-01', '2026-11-01T18:30', or how long ago, '7d'. Local time.
        limit : int, optional
            At most so many pairs, the nearest.
        max_pairs : int
            Refuse when there are more, beforehand when an estimate leaves no doubt.
        companions : bool
            Also pairs of a RAW file and the JPEG or HEIC of its stem in its folder.
        decided : bool
            Also pairs that were decided to be no duplicates.

        Returns
        -------
        pyarrow.Table
            a, b (absolute paths, a before b by path bytes), distance, kind; ordered by
            (distance, a, b).

        Raises
        ------
        UsageError
            Also when there are more than `max_pairs`, or no picture lies in a folder.
        """
        found = self.find_pairs(**options)
        answer = found.answer
        facts = {"metric": answer.metric, "cutoff": str(answer.cutoff)}
        facts |= {"complete": str(answer.complete).lower(), "snapshot": str(answer.snapshot)}
        return pairs_table(found, facts)

    def groups(self, **options: Unpack[GroupOptions]) -> Groups:
        """Return groups of near-duplicates, made of pairs within the cutoff.

        Pictures with next to no information (one flat colour, blank pages) join a group only with
        byte-identical ones. A RAW file and its JPEG are no duplicates unless `companions`. By
        metric 'fingerprint', only copies and edits of one exposure make groups unless `kinds` says
        more: frames of a burst are related, and no duplicates.

        Parameters
        ----------
        linkage : {'connected', 'complete', 'star'}
            The rule by which pairs make groups: whatever a chain of them joins; every two members
            within the cutoff; every member within the cutoff of one of them, the centre.
        unconfirmed : bool
            Also by pairs whose signatures object, as those of different pages of writing do:
            :mod:`annidx.search.confirm`. In an index without signatures no pair is asked.
        **options
            See :meth:`pairs`.
        """
        wanted = replace(self._wanted(GroupOptions, options), k=None)
        started = time.monotonic()
        own = DUPLICATES if descriptor(wanted.metric).needs else KINDS
        measure, limit, (found, engine, _), left_out = self._join(wanted, kinds=own)
        found, aside = answers.without_low_information(self.snapshot, found)
        kept = found if wanted.unconfirmed else self._confirmed(found, measure)
        rows = grouping.RULES[wanted.linkage](kept)
        vectors = self.engines.comparable(measure.name)
        made = answers.groups(self.snapshot, vectors, rows, wanted.linkage)
        made = selecting.with_protected(made, wanted)
        answer = self._answer(measure, limit, wanted, engine, started, left_out=left_out)
        return Groups(tuple(made), aside, answer, len(found) - len(kept))

    def failures(self) -> list[tuple[bytes, str, str]]:
        """Return (absolute path, status, reason) of the files that could not be read, by path."""
        other = self.snapshot.other
        rows = np.flatnonzero(other.live)
        facts = zip(
            self.snapshot.paths(rows, other),
            other.values("status", rows),
            other.values("error", rows),
            strict=True,
        )
        return sorted(each for each in facts if each[1] not in IGNORED)

    def recall(self, metric: str | None = None, *, sample: int = SAMPLE) -> Measured:
        """Measure how many of the pairs within the metric's cutoff queries find.

        Parameters
        ----------
        metric : str, optional
            By default that of searches.
        sample : int
            At most so many pictures, evenly spaced, are asked, and compared with an exact scan.

        Returns
        -------
        Measured
            What queries find by whatever engine the planner chooses. Pairs of equal vectors, which
            cannot be missed, do not count.

        Raises
        ------
        UsageError, IndexDamaged
        """
        held = self.manifest.descriptors
        measure, limit = self._checked(Search(metric=metric or default_metric(held)))
        return self.engines.recall(measure, limit, sample)

    def _wanted(self, kind: Any, options: Mapping[str, Any]) -> Search:
        return asking.search(kind, options, self.manifest.descriptors)

    def _checked(self, wanted: Search) -> tuple[Descriptor, float]:
        """Return the descriptor and the cutoff that are asked for."""
        held = self.manifest.descriptors
        measure, _ = queries.checked(wanted.metric, wanted.cutoff, wanted.k, held)
        return queries.checked(wanted.metric, wanted.cutoff_of(measure), wanted.k, held)

    def _nearest(self, sources: Sequence[Any], wanted: Search) -> list[Matches]:
        measure, limit = self._checked(wanted)
        records = [queries.read_query(source, wanted.metric) for source in sources]
        stored = queries.joined(measure, records, self.manifest.descriptors)
        asked = [answers.asked(queries.label(record), record) for record in records]
        return self._matches(measure, limit, stored, asked, wanted)

    def _matches(
        self,
        measure: Descriptor,
        limit: float,
        stored: Stored,
        asked: Sequence[Asked],
        wanted: Search,
    ) -> list[Matches]:
        started = time.monotonic()
        search = Nearest(self.engines, self._selection, measure, limit, wanted)
        found = [
            part.under(self._answer(measure, limit, wanted, engine, started), wanted.k)
            for part, engine in search.matches(stored, asked)
        ]
        return limited(found, wanted.limit)

    def _explain(self, found: Sightings) -> list[Explanation]:
        return self.engines.recognition.comparer.explanations(found)

    def _join(
        self, wanted: Search, *, nearest: int | None = None, kinds: Sequence[Kind] = ()
    ) -> tuple[Descriptor, float, Joined, int]:
        """Return metric, cutoff, the pairs within it, and how many of companions were left out.

        Of those `kinds`, if no other ones are asked for.
        """
        measure, limit = self._checked(wanted)
        kinds = wanted.only_kinds or kinds or KINDS
        judge = self.engines.recognition.comparer.kinds if measure.needs else None
        keep = PairFilter(self.snapshot, self._selection, wanted, kinds, judge)
        among = self._selection.among(wanted.where)
        sides = self._selection.sides(wanted, datetime.now().astimezone())
        if measure.needs:
            found = self.engines.recognised(
                self.engines.recognition.limits(limit, wanted),
                wanted.max_pairs,
                views=wanted.views,
                engine="exact" if wanted.exact else wanted.engine,
                among=among,
                sides=sides,
                keep=keep,
                nearest=nearest,
            )
        else:
            found = self.engines.join(
                *(measure, limit, wanted.max_pairs),
                engine=wanted.engine,
                exhaustive=wanted.exact,
                among=among,
                sides=sides,
                keep=keep,
                nearest=nearest,
            )
        return measure, limit, found, keep.companions_left_out

    def _confirmed(self, found: RowPairs, measure: Descriptor) -> RowPairs:
        """Return the pairs that signatures confirm, where the index holds them."""
        if measure.needs or SIGNATURE.name not in self.manifest.descriptors:
            return found  # the second look has confirmed what was found by fingerprint
        thumbs, signatures = (self.engines.vectors(each.name) for each in (THUMB, SIGNATURE))
        return confirm.confirmed(found, measure, thumbs, signatures)

    def _answer(
        self,
        measure: Descriptor,
        limit: float,
        wanted: Search,
        engine: Engine,
        started: float,
        complete: bool = True,
        left_out: int = 0,
    ) -> Answer:
        recalls = [each.recall for each in self.engines.usable_graphs(measure.name)]
        measured = [each for each in recalls if each is not None]
        return Answer(
            metric=measure.name,
            cutoff=limit,
            k=wanted.k,
            complete=complete,
            exact=engine == "exact",
            engine=engine,
            recall=min(measured, default=None) if engine == "graph" else None,
            snapshot=self.manifest.number,
            seconds=time.monotonic() - started,
            companions_left_out=left_out,
            limit=wanted.limit,
            chance=self.engines.recognition.limits(limit, wanted).chance if measure.needs else None,
        )


def _beyond(wanted: Search, measure: Descriptor) -> Search:
    """Return what finds the nearest picture, however far it is: by thumbs, for the fingerprint."""
    if not measure.needs:
        return replace(wanted, match=None, cutoff=measure.largest)
    return Search(
        metric=THUMB.name,
        cutoff=THUMB.largest,
        k=1,
        where=wanted.where,
        companions=wanted.companions,
        decided=wanted.decided,
    )
