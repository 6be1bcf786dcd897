"""Errors as application/problem+json (RFC 9457): what went wrong, never a traceback."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from annidx.errors import AnnidxError, PictureUnreadable

log = logging.getLogger(__name__)

TYPE = "application/problem+json"
RETRY_S = 1
"""What Retry-After says: no request but a search of all pairs takes longer."""


class Problem(Exception):
    """A request that is refused.

    Parameters
    ----------
    status : int
    detail : str
    headers : Mapping of str to str
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def response(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """Return a problem as a response.

    Parameters
    ----------
    status : int
    detail : str
        For whoever made the request.
    headers : Mapping of str to str, optional
    **more
        Further members of the JSON object.
    """
    fields = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    shown = detail.encode(errors="replace").decode()  # an error may quote bytes that are not UTF-8
    body = json.dumps({**fields, "detail": shown, **more}).encode()
    given = dict(headers or {})
    if status in (429, 503):
        given.setdefault("Retry-After", str(RETRY_S))
    return Response(body, status, given, media_type=TYPE)


def of_error(error: AnnidxError) -> Response:
    """Return the response to an error of annidx; a class owns its status."""
    if isinstance(error, PictureUnreadable):
        status = 413 if error.status == "too-large" else error.http_status
        return response(status, str(error), picture_status=error.status)
    if error.http_status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("%s: %s", type(error).__name__, error)
        return response(
            500, "this is a bug, or the machine fails; the log of the service says more"
        )
    return response(error.http_status, str(error))


def install(app: FastAPI) -> None:
    """Have an application answer every error with a problem."""

    async def on_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return response(error.status, error.detail, error.headers)

    async def on_annidx(_: Request, error: Exception) -> Response:
        assert isinstance(error, AnnidxError)
        return of_error(error)

    async def on_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return response(error.status_code, str(error.detail), error.headers)

    async def on_invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError | ValidationError)
        return invalid(error)

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(AnnidxError, on_annidx)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(ValidationError, on_invalid)


def invalid(error: RequestValidationError | ValidationError) -> Response:
    """Return the response to a request that does not have the documented form."""
    found = [
        {"where": ".".join(map(str, each["loc"])), "what": each["msg"]} for each in error.errors()
    ]
    first = f"{found[0]['where']}: {found[0]['what']}" if found else "not as documented"
    return response(422, first, errors=found[:20])
