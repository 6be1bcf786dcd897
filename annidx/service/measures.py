"""What a service counts, as Prometheus reads it."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annidx.prometheus import Sample, family
from annidx.service.holder import Held

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets, inclusive, seconds."""


class Measures:
    """Counts of requests by route, method and status, and how long they took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()

    def book(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests[route, method, status] += 1
        buckets = self._buckets.setdefault(route, [0] * (len(BOUNDS_S) + 1))
        buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self._seconds[route] += seconds  # type: ignore[assignment] # a Counter adds floats as well

    @property
    def requests(self) -> int:
        """How many there were."""
        return self._requests.total()

    def text(self, held: Iterable[Held], pools: Mapping[str, tuple[int, int, int]]) -> str:
        """Return all of it in Prometheus' text format.

        Parameters
        ----------
        held : iterable of Held
            The indexes.
        pools : Mapping of str to (int, int, int)
            By name: places that are taken, all places, requests that found none.
        """
        lines: list[str] = []
        lines += family("requests_total", "counter", "Requests that were answered.", self._told())
        lines += family(
            "request_seconds", "histogram", "Seconds from head to end.", self._histogram()
        )
        at = [({"pool": name}, figures) for name, figures in pools.items()]
        for place, (name, kind, what) in enumerate(_OF_POOLS):
            samples = [(name, labels, float(each[place])) for labels, each in at]
            lines += family(name, kind, what, samples)
        facts = [(each, _facts(each)) for each in held]
        for name, (kind, what) in _OF_INDEXES.items():
            samples = [
                (name, {"index": each.name, **labels}, value)
                for each, known in facts
                for labels, value in known.get(name, ())
            ]
            lines += family(name, kind, what, samples)
        return "\n".join(lines) + "\n"

    def _told(self) -> Iterator[Sample]:
        for (route, method, status), count in sorted(self._requests.items()):
            labels = {"route": route, "method": method, "status": str(status)}
            yield "requests_total", labels, count

    def _histogram(self) -> Iterator[Sample]:
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip([*BOUNDS_S, float("inf")], buckets, strict=True):
                total += count
                labels = {"route": route, "le": "+Inf" if bound == float("inf") else f"{bound:g}"}
                yield "request_seconds_bucket", labels, total
            yield "request_seconds_sum", {"route": route}, self._seconds[route]
            yield "request_seconds_count", {"route": route}, total


_OF_POOLS = (
    ("queue_taken", "gauge", "Requests that are worked on or wait for it."),
    ("queue_places", "gauge", "So many may be at a time."),
    ("rejected_total", "counter", "Requests that found no place."),
)
_OF_INDEXES = {
    "ready": ("gauge", "1 when a snapshot is open."),
    "snapshot": ("gauge", "Number of the snapshot that answers."),
    "snapshot_age_seconds": ("gauge", "How long ago it was published."),
    "walked_age_seconds": ("gauge", "How long ago it was last found to be up to date."),
    "pictures": ("gauge", "Readable pictures in it."),
    "recall": ("gauge", "Measured recall of a graph, 0 to 1."),
    "reloads_total": ("counter", "Newer snapshots that were picked up."),
    "reload_failures_total": ("counter", "Times that a snapshot could not be opened."),
}


def _facts(held: Held) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return what is known of one index, by metric: labels and value of each sample."""
    always: dict[str, list[tuple[dict[str, str], float]]] = {
        "ready": [({}, float(held.is_loaded))],
        "reloads_total": [({}, float(held.reloads))],
        "reload_failures_total": [({}, float(held.failures))],
    }
    if not held.is_loaded:
        return always
    index = held.index
    return always | {
        "snapshot": [({}, float(index.manifest.number))],
        "snapshot_age_seconds": [({}, round(held.age_s(), 3))],
        "walked_age_seconds": [({}, round(held.unverified_s(), 3))],
        "pictures": [({}, float(len(index)))],
        "recall": [
            ({"metric": graph.metric}, graph.recall)
            for graph in index.manifest.graphs
            if graph.recall is not None
        ],
    }


class Measured:
    """Books every request of an application, and answers what nothing else has caught."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app, self._measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = 500

        async def booked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, booked)
        finally:
            # The route and not the path: labels must be few, whatever a client asks for.
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._measures.book(route, method, status, time.monotonic() - began)


_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"})
