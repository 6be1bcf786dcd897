"""What a browser without the cookie is told: a page with what to do, in place of a JSON problem."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Readable:
    """Answers refusals for want of a credential (401) with a page, to who accepts HTML.

    Parameters
    ----------
    app : ASGI application
    page : bytes
        The page, UTF-8.
    headers : Mapping of str to str
        What the page is sent with.
    """

    def __init__(self, app: ASGIApp, page: bytes, headers: Mapping[str, str]) -> None:
        self._app, self._page, self._headers = app, page, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self._app(scope, receive, send)
            return
        is_refused = False

        async def told(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start" and message["status"] == 401:
                is_refused = True
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                headers["Content-Type"] = "text/html; charset=utf-8"
                headers["Content-Length"] = str(len(self._page))
            elif is_refused and message["type"] == "http.response.body":
                body = b"" if scope["method"] == "HEAD" else self._page
                message = {"type": "http.response.body", "body": body}
            await send(message)

        await self._app(scope, receive, told)
