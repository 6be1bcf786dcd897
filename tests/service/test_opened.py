"""No path that a client names is ever opened: an audit hook watches all that this process opens."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.service.serving import Served

SECRET = "client-named-this"
WATCHED = ("open", "os.", "shutil.", "socket.connect", "subprocess.", "urllib.", "glob.")
PICTURE = b"\xff\xd8\xff\xe0" + bytes(100)


class Watch:
    """Notes what is opened, listed, started or connected to by a name with the secret in it."""

    def __init__(self) -> None:
        self.on, self.seen = False, list[tuple[str, str]]()
        self.threads: set[int] = set()
        sys.addaudithook(self)  # for ever: there is no way to take one back

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event.startswith(WATCHED):
            told = repr(args)
            self.threads.add(threading.get_ident())
            if SECRET in told:
                self.seen.append((event, told))

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.on = True
        try:
            yield
        finally:
            self.on = False


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.fixture
def bait(tmp_path: Path) -> Path:
    """Return a file that is there, so that a look at it would tell something."""
    file = tmp_path / SECRET
    file.write_bytes(PICTURE)
    return file


def test_the_hook_sees_what_is_opened(watch: Watch, bait: Path) -> None:
    with watch.watching():
        bait.read_bytes()
    assert [event for event, _ in watch.seen] == ["open"]
    watch.seen.clear()


def test_no_path_of_a_client_is_opened(served: Served, watch: Watch, bait: Path) -> None:
    names = [str(bait), f"../../{SECRET}", f"file://{bait}", f"http://127.0.0.1:1/{SECRET}"]
    with watch.watching():
        for name in names:
            asked(served, name)
    assert watch.seen == []
    assert watch.threads, "the hook saw nothing at all"


def asked(served: Served, name: str) -> None:
    """Say a name wherever a request may say one."""
    sent = {"file": (name, PICTURE, "image/jpeg")}
    served.post("/v1/query", files=sent)
    served.post("/v1/query", files=sent, data={"filters": f'{{"paths": ["{name}"]}}'})
    served.post("/v1/query", data={"file": name}, files={"other": (name, b"x")})
    served.post("/v1/query", json={"id": 1, "filters": {"paths": [name]}, "metric": "thumb"})
    for key in ("id", "path", "file", "metric", "vector", "url"):
        served.post("/v1/query", json={key: name})
    for path in ("", "/thumbnail", "/neighbours"):
        served.get(f"/v1/images/{quote(name, safe='')}{path}")
        served.get(f"/v1/images/{quote(name)}{path}")
    served.client.put(f"/v1/images/{quote(name, safe='')}", files=sent)
    served.client.delete(f"/v1/images/{quote(name, safe='')}")
    for route in ("pairs", "groups"):
        served.get(f"/v1/{route}", params={"path": name, "limit": 1, "metric": "thumb"})
        served.get(f"/v1/{route}", params={"cursor": name})
    for route in ("snapshot", "images/1", "images/1/thumbnail"):
        served.get(f"/v1/{route}", params={"index": name})
    served.post("/v1/reload", params={"index": name})
    served.get(f"/{quote(name)}")
    served.get("/docs", headers={"Referer": name, "X-Forwarded-For": name, "Cookie": name})
