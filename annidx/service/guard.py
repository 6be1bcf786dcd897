"""Who may ask, and what browsers are told: Host, Origin, token, security headers.

A page in a browser can reach a service on 127.0.0.1 as well as its user can. By name it comes as
far as DNS lets it: so the Host must be one that this service answers to (DNS rebinding). Without a
name it can send forms and simple requests, which carry an Origin: so what is not GET must come from
no page, or from one of this service.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annidx.service import problems
from annidx.service.problems import Problem
from annidx.service.settings import Settings, is_loopback

OPEN_PATHS = frozenset(
    {
        *("/livez", "/readyz", "/review/login"),
        *("/review/static/page.css", "/review/static/icon.svg"),
    }
)
"""Probes of a supervisor, which has no token: they say yes or no and name no picture; where a
one-time link is given for the cookie of the review page; how a page looks that refuses."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer; one that sets a header of these itself keeps its own."""

Credential = Callable[[Headers], bool]
"""Tells by the headers of a request whether its sender may ask."""


class Guard:
    """Lets requests through to an application, or answers them itself.

    Parameters
    ----------
    app : ASGI application
    settings : Settings
    credentials : Credential
        Further ones beside the bearer token, any of which will do: a page's cookie.
    """

    def __init__(self, app: ASGIApp, settings: Settings, *credentials: Credential) -> None:
        self._app, self._settings = app, settings
        self._token = settings.token.encode()
        self._credentials = [self._has_token, *credentials] if settings.token else []
        self._hosts = known_hosts(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets here
            return
        guarded = _with_headers(send)
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            self._check_origin(scope["method"], headers)
            self._check_credentials(scope["path"], headers)
        except Problem as error:
            refusal = problems.response(error.status, error.detail, error.headers)
            await refusal(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) == 1 and self._answers_to(hosts[0]):
            return
        shown = ", ".join(hosts) or "none"
        message = f"this service does not answer to the host {shown!r} (--allow-host NAME adds one)"
        raise Problem(403, message)

    def _answers_to(self, host: str) -> bool:
        name = host_name(host)
        if name in self._hosts:
            return True
        # A page cannot be rebound to a number: a bind to all addresses answers to each of them.
        return self._settings.socket is None and _is_wildcard(self._settings.host) and _is_ip(name)

    def _check_origin(self, method: str, headers: Headers) -> None:
        if method in SAFE_METHODS:
            return
        origin = headers.get("origin")
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if (origin is not None and not self._is_own(origin, headers["host"])) or foreign:
            message = f"{method} is refused to pages of other origins ({origin or 'unknown'})"
            raise Problem(403, message)

    def _is_own(self, origin: str, host: str) -> bool:
        split = urlsplit(origin)
        return split.scheme in ("http", "https") and split.netloc.lower() == host.lower()

    def _check_credentials(self, path: str, headers: Headers) -> None:
        if not self._credentials or path in OPEN_PATHS:
            return
        if not any(each(headers) for each in self._credentials):
            message = "give the token of this service: Authorization: Bearer TOKEN"
            raise Problem(401, message, {"WWW-Authenticate": 'Bearer realm="annidx"'})

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Compared as bytes, in a time that tells nothing of how many were right.
        right = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        return right and scheme.lower() == "bearer"


def known_hosts(settings: Settings) -> frozenset[str]:
    """Return the names that a service answers to."""
    own = {name.lower() for name in settings.allowed_hosts}
    if settings.socket is not None:
        return frozenset(own | LOOPBACK)
    own.add(settings.host.lower())
    if is_loopback(settings.host) or _is_wildcard(settings.host):
        own |= LOOPBACK
    if _is_wildcard(settings.host):
        own.add(socket.gethostname().lower())
    return frozenset(own)


def host_name(host: str) -> str:
    """Return a Host header without its port and brackets, in lower case; empty if it is none.

    Examples
    --------
    >>> host_name("LocalHost:8000"), host_name("[::1]:80"), host_name("a@b"), host_name("a:b")
    ('localhost', '::1', '', '')
    """
    if any(character in host for character in "@/?#\\ "):
        return ""
    try:
        split = urlsplit(f"//{host}")
        _ = split.port  # raises when it is no number
    except ValueError:
        return ""
    return split.hostname or ""


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_wildcard(host: str) -> bool:
    return host in ("0.0.0.0", "::", "")


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded
