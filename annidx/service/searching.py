"""POST /v1/query and /v1/query/batch, GET /v1/images/{id}/neighbours: what is near to a picture."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.routing import APIRoute
from starlette.datastructures import UploadFile
from starlette.responses import Response

from annidx import queries
from annidx.asking import QueryOptions, metric_of
from annidx.beside import Both, verdict
from annidx.descriptors import THUMB, descriptor
from annidx.errors import UsageError
from annidx.found import Matches
from annidx.service import bodies, documents
from annidx.service.decoding import Decoders
from annidx.service.documents import INDEX, body_of, problems
from annidx.service.holder import Held
from annidx.service.running import Clock, Service, json_response, matches_fields
from annidx.thresholds import Thresholds

_first = itemgetter(0)

IndexName = Annotated[str | None, Query(alias="index", max_length=200, description="Which index.")]


class Direct(APIRoute):
    """A route whose function takes the request and nothing else.

    What FastAPI does for every request to find out its parameters takes as long as a search.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function itself."""
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


@dataclass(frozen=True, slots=True)
class Asked:
    """What some queries are asked of, and how.

    Attributes
    ----------
    both : Both
    options : Mapping of str to Any
        For the API.
    payload : Mapping of str to Any
        Members of the payload of what is to be found.
    thresholds : Thresholds, optional
        By which to judge.
    """

    both: Both
    options: Mapping[str, Any]
    payload: Mapping[str, Any]
    thresholds: Thresholds | None = None

    @property
    def metric(self) -> str:
        """By which pictures are asked for."""
        return metric_of(QueryOptions, self.options, self.both.index.manifest.descriptors)

    @property
    def key(self) -> tuple[Both, str, str]:
        """What queries that may be asked in one pass have in common."""
        return self.both, repr(sorted(self.options.items(), key=_first)), repr(self.payload)

    def told(self, found: Matches) -> dict[str, Any]:
        """Return the verdict on a query, if one is wanted, and how many uploads it did not see."""
        judged = {} if self.thresholds is None else {"verdict": verdict(found, self.thresholds)}
        return {**judged, **left_out_fields(self.both, found.answer.metric)}


def by_id(asked: Asked, numbers: Sequence[int]) -> list[Matches]:
    """Return what is near to pictures of an index; they are not their own neighbours."""
    records = asked.both.index.pictures_of(numbers)
    return asked.both.query(records, payload=asked.payload, **asked.options)


def by_vector(asked: Asked, vectors: Sequence[Any]) -> list[Matches]:
    """Return what is near to descriptors that were computed elsewhere."""
    options = asked.options
    for name in ("kinds", "companions"):
        if options.get(name):
            message = f"{name} goes with pictures: a vector has no file and no bytes"
            raise UsageError(message)
    kept = {name: each for name, each in options.items() if name not in ("kinds", "companions")}
    measure = descriptor(kept.get("metric", THUMB.name))
    kind = np.uint8 if measure.encoding == "bytes" else np.int8
    try:
        stacked = np.array(vectors, kind)
    except (ValueError, OverflowError):
        bounds = np.iinfo(kind)
        message = (
            f"expected vectors of {measure.dimension} numbers from {bounds.min} to {bounds.max}"
        )
        raise UsageError(message) from None
    return asked.both.query_vectors(stacked, payload=asked.payload, **kept)


def by_upload(asked: Asked, file: UploadFile, decoders: Decoders) -> Matches:
    """Return what is near to a picture that was sent; it is decoded in a worker process."""
    record = decoders.record(file.file.read(), queries.needed(asked.metric))
    return asked.both.query([record], payload=asked.payload, **asked.options)[0]


def install(app: FastAPI, service: Service) -> None:
    """Add the routes that most requests go to, first and to the application itself.

    A router within a router takes a tenth of the time of a query to find the route.
    """
    post = partial(
        app.router.add_api_route, methods=["POST"], tags=["search"], route_class_override=Direct
    )

    async def query(request: Request) -> Response:
        """Find what is near to a picture: one that is sent, one of the index, or a vector."""
        clock, held = Clock(), service.holder.of(request.query_params.get("index"))
        if bodies.is_form(request):
            with service.receiving:
                async with bodies.form_body(request, bodies.Nearest) as (file, told):
                    asked = asked_of(service, held, told)
                    given = asked, file, service.decoders
                    found = await service.pool.run(by_upload, *given)
        else:
            told = await bodies.json_body(request, bodies.Query)
            asked = asked_of(service, held, told)
            if told.id is not None:
                found = await near_to(service, asked, told.id)
            else:
                (found,) = await service.pool.run(by_vector, asked, [told.vector])
        return answered(found, held.name, clock, **asked.told(found))

    async def batch(request: Request) -> Response:
        """Find what is near to several pictures, in one pass over one snapshot."""
        clock, held = Clock(), service.holder.of(request.query_params.get("index"))
        told = await bodies.json_body(request, bodies.Batch)
        asked = asked_of(service, held, told)
        if told.ids is not None:
            found = await service.pool.run(by_id, asked, told.ids)
        else:
            found = await service.pool.run(by_vector, asked, told.vectors)
        results = [{**matches_fields(each), **asked.told(each)} for each in found]
        fields: dict[str, Any] = {"results": results, "index": held.name}
        number = asked.both.index.manifest.number
        fields |= {"snapshot": number, "milliseconds": clock.milliseconds()}
        return json_response(fields)

    post(
        "/v1/query",
        query,
        response_model=documents.QueryAnswer,
        responses=problems(404, 408, 415, 422, 503),
        openapi_extra={**body_of(bodies.Query, form=bodies.Nearest), "parameters": [INDEX]},
    )
    post(
        "/v1/query/batch",
        batch,
        response_model=documents.BatchAnswer,
        responses=problems(404, 408, 415, 422, 503),
        openapi_extra={**body_of(bodies.Batch), "parameters": [INDEX]},
    )


def router(service: Service) -> APIRouter:
    """Return the other routes of searches."""
    routes = APIRouter(tags=["search"])

    @routes.get(
        "/v1/images/{id}/neighbours",
        response_model=documents.QueryAnswer,
        responses=problems(404, 422, 503),
    )
    async def neighbours(
        id: bodies.Number, told: Annotated[bodies.Neighbours, Query()]
    ) -> Response:
        """Find what is near to a picture of the index."""
        clock, held = Clock(), service.holder.of(told.index)
        asked = Asked(held.both(), told.options(), {})
        found = await near_to(service, asked, id)
        return answered(found, held.name, clock, **asked.told(found))

    return routes


async def near_to(service: Service, asked: Asked, number: int) -> Matches:
    """Return what is near to a picture of an index, asked for together with others that wait."""
    return await service.gathered.run(asked.key, partial(by_id, asked), number)


def asked_of(service: Service, held: Held, told: bodies.Nearest) -> Asked:
    """Return what a request asks for, of the snapshot that is held now."""
    both, options, payload = held.both(), told.options(), told.payload or {}
    if not told.judge:
        return Asked(both, options, payload)
    thresholds = service.thresholds(held)
    return Asked(both, {**options, **thresholds.options}, payload, thresholds)


def left_out_fields(both: Both, metric: str) -> dict[str, int]:
    """Return how many uploads a search did not see, if there are any."""
    count = both.left_out(metric)
    return {"uploads_left_out": count} if count else {}


def answered(found: Matches, name: str, clock: Clock, **more: Any) -> Response:
    """Return the answer to one query."""
    fields = {"index": name, "milliseconds": clock.milliseconds()}
    return json_response({**matches_fields(found), **more, **fields})
