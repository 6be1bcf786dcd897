"""What the body of a request may take: bytes, and the time until it is there."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annidx.service import problems
from annidx.service.problems import Problem


class Limits:
    """Refuses bodies that are too large or too slow.

    Parameters
    ----------
    app : ASGI application
    max_bytes : int
        Inclusive.
    body_s : float
    """

    def __init__(self, app: ASGIApp, max_bytes: int, body_s: float) -> None:
        self._app, self._max_bytes, self._body_s = app, max_bytes, body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._max_bytes:
            await problems.response(413, self._too_large)(scope, receive, send)
            return
        body = _Body(receive, self._max_bytes, self._body_s, self._too_large)
        await self._app(scope, body.receive, send)

    @property
    def _too_large(self) -> str:
        return f"a request's body may have {self._max_bytes:,} bytes at most"


class _Body:
    """The body of one request while it comes."""

    def __init__(self, receive: Receive, max_bytes: int, body_s: float, too_large: str) -> None:
        self._receive, self._left, self._too_large = receive, max_bytes, too_large
        self._body_s, self._until = body_s, time.monotonic() + body_s
        self._has_come = False

    async def receive(self) -> Message:
        if self._has_come:  # whoever asks on waits for the client to leave
            return await self._receive()
        try:
            async with asyncio.timeout(self._until - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            late = f"the body did not come within {self._body_s:g} s"
            raise Problem(408, late, {"Connection": "close"}) from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise Problem(413, self._too_large)
        self._has_come = not message.get("more_body", False)
        return message
