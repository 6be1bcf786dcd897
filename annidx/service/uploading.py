"""PUT and DELETE /v1/images/{id}: pictures that clients add under their own keys, and remove."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from annidx.asking import K
from annidx.beside import verdict
from annidx.errors import PictureNotFound
from annidx.service import bodies, documents
from annidx.service.documents import body_of, problems
from annidx.service.holder import Held
from annidx.service.running import Clock, Service, json_response, matches_fields
from annidx.service.searching import IndexName, left_out_fields
from annidx.uploads import MOST_KEY, checked_key, checked_payload

Key = Annotated[
    str, Path(alias="id", min_length=1, max_length=MOST_KEY, description="The client's key.")
]


def router(service: Service) -> APIRouter:
    """Return the routes of uploads."""
    routes = APIRouter(tags=["uploads"])

    def _put(held: Held, key: str, file: UploadFile, told: bodies.Put) -> dict[str, Any]:
        uploads, thresholds = held.uploads, service.thresholds(held)
        names = dict.fromkeys((*held.index.manifest.descriptors, *uploads.descriptors))
        record = service.decoders.record(file.file.read(), list(names))
        # Judged and added under one lock: of two equal pictures that come at once, one is second.
        with uploads.lock:
            uploads.refresh()
            path = uploads.path(key)
            asked = replace(record, file=replace(record.file, path=path))
            both = held.both()
            (found,) = both.query([asked], payload={}, k=K, **thresholds.options)
            judged = verdict(found, thresholds)
            stored = told.keep == "always" or judged != "reject"
            created = stored and uploads.put(key, told.payload, record)
        fields = {"key": key, "stored": stored, "created": created, "verdict": judged}
        seen = {**matches_fields(found), **left_out_fields(both, thresholds.metric)}
        return {**fields, "uploads": len(uploads), **seen}

    @routes.put(
        "/v1/images/{id}",
        response_model=documents.PutAnswer,
        responses={201: {"model": documents.PutAnswer}, **problems(404, 408, 415, 422, 503)},
        openapi_extra=body_of(None, form=bodies.Put),
    )
    async def put(request: Request, key: Key, index: IndexName = None) -> Response:
        """Judge a picture by what there is, and add it; 201 when the key is new."""
        clock, held = Clock(), service.holder.of(index)
        checked_key(key)
        if not bodies.is_form(request):
            raise bodies.not_a_form()
        with service.receiving:
            async with bodies.form_body(request, bodies.Put) as (file, told):
                checked_payload(told.payload)
                fields = await service.pool.run(_put, held, key, file, told)
        about = {"index": held.name, "milliseconds": clock.milliseconds()}
        return json_response({**fields, **about}, status=201 if fields["created"] else 200)

    def _delete(held: Held, key: str) -> None:
        if not held.uploads.delete(key):
            message = f"there is no upload with the key {key!r}"
            raise PictureNotFound(message)

    @routes.delete(
        "/v1/images/{id}",
        response_model=documents.DeleteAnswer,
        responses=problems(404, 422, 503),
    )
    async def delete(key: Key, index: IndexName = None) -> Response:
        """Remove a picture that a client has added; pictures of the archive stay as they are."""
        held = service.holder.of(index)
        await service.pool.run(_delete, held, key)
        fields = {"key": key, "deleted": True, "uploads": len(held.uploads)}
        return json_response({**fields, "index": held.name})

    return routes
