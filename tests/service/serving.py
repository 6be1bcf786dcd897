"""A service that really listens, for tests: in a thread of this process, on a free port."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from annidx.review import suggest
from annidx.service.application import of_service
from annidx.service.decoding import decode
from annidx.service.holder import Holder
from annidx.service.page import routes
from annidx.service.page.session import Session
from annidx.service.running import Service
from annidx.service.server import address, listening, server
from annidx.service.settings import Settings

QUICK = Settings(port=0, poll_s=0.05, workers=2)


@dataclass(frozen=True, slots=True)
class Served:
    """A service that listens.

    Attributes
    ----------
    service : Service
    client : httpx.Client
        With its address.
    """

    service: Service
    client: httpx.Client

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.client.post(path, **options)

    @property
    def port(self) -> int:
        port = self.client.base_url.port
        assert port is not None
        return port


@contextlib.contextmanager
def serving(
    index: Path | Mapping[str, Path],
    settings: Settings = QUICK,
    *,
    decode: Callable[[Any], Any] = decode,
    wait: bool = True,
    session: Session | None = None,
    **changes: Any,
) -> Iterator[Served]:
    """Serve an index, or several by name, until the block ends; with the page, for a session."""
    places = {"default": index} if isinstance(index, Path) else index
    told = replace(settings, **changes)
    service = Service(Holder(places), told, decode)
    app = of_service(service, *([] if session is None else [session.knows]))
    if session is not None:
        routes.install(app, session, suggest.rules())
    running = server(app, told)
    bound = listening(told)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]}, daemon=True)
    # What handles signals can only be told so in the main thread; uvicorn leaves them alone here.
    thread.start()
    headers = {"Authorization": f"Bearer {told.token}"} if told.token else {}
    try:
        with client(told, address(told, bound), headers) as asking:
            served = Served(service, asking)
            until(lambda: running.started)
            if wait:
                until(lambda: asking.get("/readyz").status_code == 200)
            yield served
    finally:
        running.should_exit = True
        thread.join(30)
        bound.close()
    assert not thread.is_alive()


def client(told: Settings, where: str, headers: Mapping[str, str]) -> httpx.Client:
    """Return a client of a service; proxies of the environment are none of its business."""
    if told.socket is None:
        return httpx.Client(base_url=where, headers=headers, timeout=60, trust_env=False)
    transport = httpx.HTTPTransport(uds=str(told.socket))
    base = "http://localhost"
    return httpx.Client(transport=transport, base_url=base, headers=headers, timeout=60)


def until(is_so: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something to become so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never became so"
        time.sleep(0.01)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem that an answer is, after a look at its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    assert "Traceback" not in answer.text
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    return found
