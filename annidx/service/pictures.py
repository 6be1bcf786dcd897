"""GET /v1/images/{id} and its thumbnail: what the index knows of a picture, and how it looks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from annidx.errors import PictureUnreadable
from annidx.fields import path_fields
from annidx.index import Index
from annidx.model import Record
from annidx.service import documents
from annidx.service.bodies import Number
from annidx.service.documents import problems
from annidx.service.holder import Held
from annidx.service.problems import Problem
from annidx.service.running import Service, json_response
from annidx.service.searching import IndexName
from annidx.service.uploading import Key
from annidx.uploads import upload_of

MOST_SIDE = 1024
SIDE = 256

Side = Annotated[int, Query(alias="size", ge=1, le=MOST_SIDE, description="Of the longer side.")]


def picture_fields(record: Record) -> dict[str, Any]:
    """Return the fields of a picture in JSON; times of the disk are in UTC."""
    upload = upload_of(record.file.path)
    if upload is None:
        named = {"image_id": record.image_id, **path_fields("path", record.file.path)}
    else:
        named = {"key": upload.key, "payload": upload.payload}
    return {
        **named,
        "size": record.file.size,
        "mtime": _moment(record.file.mtime_ns),
        "first_seen": _moment(record.first_seen_ns),
        "format": record.format,
        "width": record.width,
        "height": record.height,
        "orientation": record.orientation,
        "taken": record.taken,
        "camera": record.camera,
        "content_hash": record.content_hash.hex(),
        "pixel_hash": record.pixel_hash.hex(),
    }


def router(service: Service) -> APIRouter:
    """Return the routes of single pictures."""
    routes = APIRouter(tags=["pictures"])

    @routes.get(
        "/v1/images/{id}",
        response_model=documents.Picture,
        responses=problems(404, 422, 503),
    )
    async def picture(key: Key, index: IndexName = None) -> Response:
        """Tell what is known of a picture: by a client's key, or else by its number."""
        held = service.holder.of(index)
        opened = held.index
        record = await service.pool.run(_record, held, opened, key)
        facts = {"index": held.name, "snapshot": opened.manifest.number}
        return json_response({**picture_fields(record), **facts})

    @routes.get(
        "/v1/images/{id}/thumbnail",
        response_class=Response,
        responses={
            200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
            **problems(404, 422, 503),
        },
    )
    async def thumbnail(id: Number, side: Side = SIDE, index: IndexName = None) -> Response:
        """Show a picture of the index: a small JPEG made anew, without what the file says of it."""
        opened = service.holder.of(index).index
        written = await service.pool.run(_thumbnail, opened, id, side)
        keep = {"Cache-Control": "private, max-age=600"}
        return Response(written, media_type="image/jpeg", headers=keep)

    def _record(held: Held, opened: Index, key: str) -> Record:
        if key.isdecimal() and key not in held.uploads.rows:
            return opened.picture(int(key[:20]))
        return held.uploads.record(key)

    def _thumbnail(opened: Index, number: int, side: int) -> bytes:
        record = opened.picture(number)
        try:
            return service.decoders.thumbnail(record.file, side)
        except PictureUnreadable as error:
            raise Problem(404, f"picture {number} cannot be shown: {error}") from None

    return routes


def _moment(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).isoformat()
