"""POST /v1/query and /v1/query/batch, GET /v1/images/{id}/neighbours: what is near to a picture."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.routing import APIRoute
from starlette.datastructures import UploadFile
from starlette.responses import Response

from annidx import queries
from annidx.asking import QueryOptions, metric_of
from annidx.descriptors import THUMB, descriptor
from annidx.errors import UsageError
from annidx.found import Matches
from annidx.index import Index
from annidx.service import bodies, documents
from annidx.service.decoding import Decoders
from annidx.service.documents import body_of, problems
from annidx.service.running import Clock, Service, json_response, matches_fields

IndexName = Annotated[str | None, Query(alias="index", max_length=200, description="Which index.")]


class Direct(APIRoute):
    """A route whose function takes the request and nothing else.

    What FastAPI does for every request to find out its parameters takes as long as a search.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function itself."""
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


def by_id(opened: Index, numbers: Sequence[int], options: Mapping[str, Any]) -> list[Matches]:
    """Return what is near to pictures of an index; they are not their own neighbours."""
    metric = metric_of(QueryOptions, options, opened.manifest.descriptors)
    records = [opened.picture(number) for number in numbers]
    return opened.query_many(records, **{**options, "metric": metric})


def by_vector(opened: Index, vectors: Sequence[Any], options: Mapping[str, Any]) -> list[Matches]:
    """Return what is near to descriptors that were computed elsewhere."""
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
    return opened.query_vectors(stacked, **kept)


def by_upload(
    opened: Index, file: UploadFile, options: Mapping[str, Any], decoders: Decoders
) -> Matches:
    """Return what is near to a picture that was sent; it is decoded in a worker process."""
    metric = metric_of(QueryOptions, options, opened.manifest.descriptors)
    record = decoders.record(file.file.read(), queries.needed(metric))
    return opened.query(record, **{**options, "metric": metric})


def router(service: Service) -> APIRouter:
    """Return the routes of searches."""
    routes = APIRouter(tags=["search"])
    direct = APIRouter(tags=["search"], route_class=Direct)

    @direct.post(
        "/v1/query",
        response_model=documents.QueryAnswer,
        responses=problems(404, 408, 415, 422, 503),
        openapi_extra=body_of(bodies.Query, form=bodies.Nearest),
    )
    async def query(request: Request) -> Response:
        """Find what is near to a picture: one that is sent, one of the index, or a vector."""
        clock, held = Clock(), service.holder.of(request.query_params.get("index"))
        if bodies.is_form(request):
            with service.receiving:
                async with bodies.form_body(request, bodies.Nearest) as (file, asked):
                    given = held.index, file, asked.options(), service.decoders
                    found = await service.pool.run(by_upload, *given)
        else:
            asked = await bodies.json_body(request, bodies.Query)
            opened, options = held.index, asked.options()
            if asked.id is not None:
                (found,) = await service.pool.run(by_id, opened, [asked.id], options)
            else:
                (found,) = await service.pool.run(by_vector, opened, [asked.vector], options)
        return answered(found, held.name, clock)

    @direct.post(
        "/v1/query/batch",
        response_model=documents.BatchAnswer,
        responses=problems(404, 408, 415, 422, 503),
        openapi_extra=body_of(bodies.Batch),
    )
    async def batch(request: Request) -> Response:
        """Find what is near to several pictures, in one pass over one snapshot."""
        clock, held = Clock(), service.holder.of(request.query_params.get("index"))
        asked = await bodies.json_body(request, bodies.Batch)
        opened, options = held.index, asked.options()
        if asked.ids is not None:
            found = await service.pool.run(by_id, opened, asked.ids, options)
        else:
            found = await service.pool.run(by_vector, opened, asked.vectors, options)
        fields: dict[str, Any] = {"results": list(map(matches_fields, found)), "index": held.name}
        fields |= {"snapshot": opened.manifest.number, "milliseconds": clock.milliseconds()}
        return json_response(fields)

    @routes.get(
        "/v1/images/{id}/neighbours",
        response_model=documents.QueryAnswer,
        responses=problems(404, 422, 503),
    )
    async def neighbours(
        id: bodies.Number, asked: Annotated[bodies.Neighbours, Query()]
    ) -> Response:
        """Find what is near to a picture of the index."""
        clock, held = Clock(), service.holder.of(asked.index)
        (found,) = await service.pool.run(by_id, held.index, [id], asked.options())
        return answered(found, held.name, clock)

    routes.include_router(direct)
    return routes


def answered(found: Matches, name: str, clock: Clock) -> Response:
    """Return the answer to one query."""
    fields = {"index": name, "milliseconds": clock.milliseconds()}
    return json_response({**matches_fields(found), **fields})
