"""GET /v1/pairs and /v1/groups: all near-duplicates, a page at a time or as JSON lines.

A page is cut from an answer that is kept until a newer snapshot or another question takes its
place. A cursor names the snapshot and the question that it goes on with, so that pages never mix.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from annidx.exports import pair_fields
from annidx.fields import group_fields
from annidx.found import Groups, Pairs
from annidx.index import Index
from annidx.service import bodies, documents
from annidx.service.documents import problems
from annidx.service.holder import Held
from annidx.service.problems import Problem
from annidx.service.running import Clock, Service, answer_fields, json_response
from annidx.service.work import TooMany

NDJSON = "application/x-ndjson"
AT_ONCE = 200
"""So many rows are made at a time: by fingerprint, half a millisecond each."""
MOST_STREAMS = 4

What = Literal["pairs", "groups"]


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that pages are cut from.

    Attributes
    ----------
    index : Index
        That gave it.
    question : str
    found : Pairs or Groups
    """

    index: Index
    question: str
    found: Pairs | Groups


class Shelf:
    """The last answer of each kind for each index.

    Two of them at most, so that searches of all pairs take memory for one question at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, What], Kept] = {}

    def found(
        self, held: Held, opened: Index, what: What, asked: bodies.PairQuery
    ) -> Pairs | Groups:
        """Return an answer that is kept, or search for it."""
        question, key = asked.question(), (held.name, what)
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and kept.index is opened and kept.question == question:
            return kept.found
        search: Callable[..., Pairs | Groups] = opened.groups
        if what == "pairs":
            search = opened.find_pairs
        found = search(**asked.options())
        with self._lock:
            if held.is_current(opened):  # else it would hold an old snapshot open
                self._kept[key] = Kept(opened, question, found)
        return found

    def forget(self, name: str) -> None:
        """Let go of what an index has answered: there is a newer snapshot."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == name]:
                del self._kept[key]


def router(service: Service) -> APIRouter:
    """Return the routes of searches of the whole index."""
    routes = APIRouter(tags=["search"])
    shelf, streams = Shelf(), Streams()
    for held in service.holder.held.values():
        held.when_replaced(shelf.forget)

    async def answer(request: Request, what: What, asked: bodies.PairQuery) -> Response:
        clock, held = Clock(), service.holder.of(asked.index)
        opened = held.index
        asked.max_pairs = min(asked.max_pairs, service.settings.max_pairs)
        start = _start(asked, opened.manifest.number)
        wants_lines = NDJSON in request.headers.get("accept", "")
        limit = 0 if wants_lines else asked.limit

        def work() -> tuple[Pairs | Groups, list[dict[str, Any]]]:
            found = shelf.found(held, opened, what, asked)
            return found, _rows(found, what, start, min(len(found), start + limit))

        found, rows = await service.joins.run(work)
        if wants_lines:
            return streams.response(found, what, start)
        stop = start + len(rows)
        cursor = _cursor(opened.manifest.number, stop, asked) if stop < len(found) else None
        fields = {what: rows, "next": cursor, **answer_fields(found.answer, len(found))}
        return json_response({**fields, "index": held.name, "milliseconds": clock.milliseconds()})

    lines = {NDJSON: {"schema": {"type": "string"}}}

    @routes.get(
        "/v1/pairs",
        response_model=documents.PageOfPairs,
        responses={200: {"content": lines}, **problems(404, 422, 429, 503)},
    )
    async def pairs(request: Request, asked: Annotated[bodies.PairQuery, Query()]) -> Response:
        """List all pairs, nearest first; `count` is how many there are in all."""
        return await answer(request, "pairs", asked)

    @routes.get(
        "/v1/groups",
        response_model=documents.PageOfGroups,
        responses={200: {"content": lines}, **problems(404, 422, 429, 503)},
    )
    async def groups(request: Request, asked: Annotated[bodies.GroupQuery, Query()]) -> Response:
        """List all groups, largest first; `count` is how many there are in all."""
        return await answer(request, "groups", asked)

    return routes


class Streams:
    """Answers that go out as JSON lines; each holds its snapshot open until its end."""

    def __init__(self) -> None:
        self._open = 0

    def response(self, found: Pairs | Groups, what: What, start: int) -> Response:
        """Return all rows from one on, and in the last line a summary: without it, some lack."""
        if self._open >= MOST_STREAMS:
            message = f"{MOST_STREAMS} streams are open: try again when one has ended"
            raise TooMany(message)
        return StreamingResponse(self._lines(found, what, start), media_type=NDJSON)

    async def _lines(self, found: Pairs | Groups, what: What, start: int) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            for at in range(start, len(found), AT_ONCE):
                stop = min(len(found), at + AT_ONCE)
                rows = await asyncio.to_thread(_rows, found, what, at, stop)
                yield "".join(json.dumps(row) + "\n" for row in rows).encode()
            summary = {"message_type": "summary", **answer_fields(found.answer, len(found))}
            yield json.dumps(summary).encode() + b"\n"
        finally:
            self._open -= 1


def _rows(found: Pairs | Groups, what: What, start: int, stop: int) -> list[dict[str, Any]]:
    fields: Callable[[Any], dict[str, Any]] = pair_fields if what == "pairs" else group_fields
    part: Sequence[Any] = [found[at] for at in range(start, stop)]
    return list(map(fields, part))


def _cursor(snapshot: int, place: int, asked: bodies.PairQuery) -> str:
    told = json.dumps([snapshot, place, _digest(asked)]).encode()
    return base64.urlsafe_b64encode(told).decode().rstrip("=")


def _start(asked: bodies.PairQuery, snapshot: int) -> int:
    """Return where a page begins.

    Raises
    ------
    Problem
        When the cursor is none, or of another question or snapshot.
    """
    if asked.cursor is None:
        return 0
    try:
        padded = asked.cursor + "=" * (-len(asked.cursor) % 4)
        known, place, digest = json.loads(base64.urlsafe_b64decode(padded))
        if not (type(known) is type(place) is int and place >= 0):
            raise ValueError
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise Problem(400, "the cursor is none: take `next` of the page before") from None
    if digest != _digest(asked):
        raise Problem(400, "the cursor goes on with another question: repeat its parameters")
    if known != snapshot:
        message = (
            f"the cursor goes on in snapshot {known}, the current one is {snapshot}: begin anew"
        )
        raise Problem(400, message)
    return int(place)


def _digest(asked: bodies.PairQuery) -> str:
    return hashlib.sha256(asked.question().encode()).hexdigest()[:16]
