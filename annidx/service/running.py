"""What all routes of a service share, and how a request gets its answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from annidx.fields import match_fields
from annidx.found import Answer, Match, Matches
from annidx.images.decode import Limits
from annidx.native import processors
from annidx.service.decoding import Decoders, decode
from annidx.service.gathering import Gathered
from annidx.service.holder import Held, Holder
from annidx.service.measures import Measures
from annidx.service.settings import Settings
from annidx.service.work import Busy, Pool, TooMany
from annidx.thresholds import Thresholds, chosen, pinned
from annidx.uploads import upload_of

MOST_RECEIVING = 32
"""So many forms may come in at a time; each may hold a temporary file."""


@dataclass(slots=True)
class Service:
    """What all routes of an application share.

    Attributes
    ----------
    holder, settings : Holder, Settings
    decode : callable
        What decoders do with what was sent, see :class:`annidx.service.decoding.Decoder`.
    """

    holder: Holder
    settings: Settings
    decode: Callable[[Any], Any] = decode
    measures: Measures = field(default_factory=Measures)
    pool: Pool = field(init=False)
    gathered: Gathered[int, Matches] = field(init=False)
    joins: Pool = field(init=False)
    receiving: Places = field(init=False)
    decoders: Decoders = field(init=False)
    _pinned: dict[str, Thresholds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        told = self.settings
        self.pool = Pool(told.workers, told.waiting)
        self.gathered = Gathered(self.pool)
        # A search of all pairs may take minutes: one at a time, and one that waits.
        self.joins = Pool(1, 1, TooMany)
        self.receiving = Places(MOST_RECEIVING)
        limits = Limits(pixels=told.max_pixels, memory=told.decode_bytes)
        self.decoders = Decoders(processors(), limits, told.decode_s, self.decode)

    def thresholds(self, held: Held) -> Thresholds:
        """Return the thresholds of an index, pinned when they are first asked for."""
        uploads = held.uploads
        with uploads.lock:
            if held.name not in self._pinned:
                told = self.settings
                wanted = chosen(held.index, told.judge_by, told.reject, told.review)
                self._pinned[held.name] = pinned(held.index, uploads.place, wanted)
            return self._pinned[held.name]

    def start(self) -> None:
        """Begin to open the indexes."""
        self.decoders.start()
        self.holder.start(self.settings.poll_s)

    def stop(self) -> None:
        """Let go of threads and processes."""
        self.holder.stop()
        for pool in (self.pool, self.joins):
            pool.close()
        self.decoders.close()


class Places:
    """A number of places for what the event loop does.

    Parameters
    ----------
    places : int
    """

    def __init__(self, places: int) -> None:
        self.places, self.taken, self.refused = places, 0, 0

    def __enter__(self) -> None:
        if self.taken >= self.places:
            self.refused += 1
            message = f"all {self.places} places are taken: try again in a second"
            raise Busy(message)
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


class Clock:
    """Tells how long a request has taken so far."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def milliseconds(self) -> float:
        """Return the wall time so far."""
        return round(1e3 * (time.perf_counter() - self._began), 3)


def json_response(fields: Mapping[str, Any], status: int = 200) -> Response:
    """Return JSON; text is ASCII, so that no name of a file can be taken for anything else."""
    return Response(json.dumps(fields), status, media_type="application/json")


def answer_fields(answer: Answer, count: int) -> dict[str, Any]:
    """Return what a search says of itself."""
    fields: dict[str, Any] = {
        "count": count,
        "complete": answer.complete,
        "exact": answer.exact,
        "engine": answer.engine,
        "recall": answer.recall,
        "metric": answer.metric,
        "cutoff": answer.cutoff,
        "k": answer.k,
        "snapshot": answer.snapshot,
        "chance": answer.chance,
    }
    left_out = answer.companions_left_out
    return fields | ({"companions_left_out": left_out} if left_out else {})


def matches_fields(found: Matches) -> dict[str, Any]:
    """Return the matches of one query and what the search says of itself."""
    return {"matches": list(map(one_match, found)), **answer_fields(found.answer, len(found))}


def one_match(match: Match) -> dict[str, Any]:
    """Return the fields of a match; what a client has added has a key instead of a path."""
    fields, upload = match_fields(match), upload_of(match.raw_path)
    if upload is None:
        return fields
    for name in ("path", "path_base64", "image_id"):
        fields.pop(name, None)
    return {"key": upload.key, "payload": upload.payload, **fields}


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call what waits for a lock or a disk, and needs no place."""
    return await asyncio.to_thread(function, *args)


def pool_figures(service: Service) -> dict[str, tuple[int, int, int]]:
    """Return by name: places that are taken, all places, requests that found none."""
    pools: Sequence[tuple[str, Pool | Places]] = (
        ("work", service.pool),
        ("joins", service.joins),
        ("receiving", service.receiving),
    )
    return {name: (pool.taken, pool.places, pool.refused) for name, pool in pools}
