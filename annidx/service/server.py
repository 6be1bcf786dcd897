"""Listening: a TCP port or a Unix socket, and clients that never come to the point."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from annidx.errors import AnnidxError
from annidx.service import problems
from annidx.service.guard import HEADERS
from annidx.service.settings import Settings

HEAD_S = 10.0
"""A request's head must have come within that; one that is kept alive may be idle for 5 s."""
GRACE_S = 5.0
"""So much later than it should have come, the body of a request ends the connection."""
SEND_S = 60.0
"""A client that takes nothing of an answer for so long is left: it holds a snapshot open."""


class Protocol(HttpToolsProtocol):
    """HTTP that leaves clients which never come to the end of a request.

    uvicorn waits for ever for the first byte, for the rest of a head, for the rest of a body that
    was answered already, and for a client that does not read.
    """

    body_s = 30.0
    _until: float | None = None
    _alarm: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def _within(self, seconds: float | None) -> None:
        """Set when the connection ends unless something comes; one timer is moved as needed.

        A new one for each step of each request took a tenth of the time of a query.
        """
        self._until = None if seconds is None else self.loop.time() + seconds
        if self._until is None or (self._alarm is not None and self._alarm.when() <= self._until):
            return
        self._set_alarm(self._until)

    def _set_alarm(self, when: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if when is None else self.loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._until is None:
            return
        if self._until > self.loop.time():
            self._set_alarm(self._until)
        else:
            self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._within(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._until = None
        self._set_alarm(None)
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not take what it is sent."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(SEND_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has taken most of it."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as everything else is answered."""
        problem = problems.response(400, msg, {**HEADERS, "Connection": "close"})
        head = b"".join(b"%b: %b\r\n" % each for each in problem.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + problem.body)
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._within(HEAD_S)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._within(self.body_s + GRACE_S)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._within(None)


def listening(settings: Settings) -> socket.socket:
    """Return the socket that a service listens on.

    Raises
    ------
    AnnidxError
        When it cannot be had.
    """
    try:
        if settings.socket is not None:
            return _unix(settings.socket)
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        made = socket.create_server((settings.host, settings.port), family=family)
        # Else the body of an answer waits until its head is acknowledged, which takes 40 ms:
        # asyncio does this for sockets of its own only.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
    except OSError as error:
        where = settings.socket or f"{settings.host}:{settings.port}"
        hint = ""
        if error.errno == errno.EADDRINUSE:
            hint = ": another process listens there, choose another --port or --socket"
        message = f"cannot listen on {where} ({error.strerror or error}){hint}"
        raise AnnidxError(message) from None


def _unix(path: Path) -> socket.socket:
    """Return a Unix socket that its owner and group may connect to."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_left(path)
        before = os.umask(0o117)
        try:
            made.bind(os.fspath(path))
        finally:
            os.umask(before)
        made.listen(128)
    except OSError:
        made.close()
        raise
    return made


def _remove_left(path: Path) -> None:
    """Remove a socket that nobody listens on any more; anything else is let be."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(os.fspath(path))
            except ConnectionRefusedError:
                path.unlink()


def server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """Return a server for an application; its `run` takes the socket of :func:`listening`."""
    protocol = type("Patient", (Protocol,), {"body_s": settings.body_s})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    return uvicorn.Server(config)


def address(settings: Settings, bound: socket.socket) -> str:
    """Return where clients find a service."""
    if settings.socket is not None:
        return f"unix:{settings.socket}"
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
