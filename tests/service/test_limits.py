"""Bodies that are too large or too slow, pictures that are too large, clients that never finish."""

from __future__ import annotations

import socket
import struct
import time
import zlib
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from annidx.service import server
from tests.service.serving import QUICK, Served, problem, serving, until


@pytest.fixture(scope="module")
def hasty(index: Path) -> Iterator[Served]:
    """Return a service whose clients must hurry."""
    with serving(index, body_s=0.4, max_pixels=1_000_000) as service:
        yield service


def huge_png(side: int) -> bytes:
    """Return a PNG of side x side black pixels, a few kilobytes long."""
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    line = bytes(1 + (side + 7) // 8)
    packer = zlib.compressobj()
    body = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_80_megabytes_are_refused_before_they_are_sent(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as raw:
        raw.sendall(
            b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 80000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        assert raw.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_80_megabytes_that_nobody_announced_are_refused_as_they_come(served: Served) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(80):
            sent += 1_000_000
            yield bytes(1_000_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = served.post("/v1/query", content=pieces(), headers=headers)
    assert "50,000,000 bytes" in problem(answer, 413)["detail"]
    assert sent > 50_000_000
    assert served.get("/livez").status_code == 200


def test_the_limit_is_inclusive(index: Path) -> None:
    with serving(index, max_upload=100) as small:
        as_json = {"content-type": "application/json"}
        assert small.post("/v1/reload", content=bytes(100)).status_code == 200
        full = b'{"id": 1}' + b" " * 91
        assert small.post("/v1/query", content=full, headers=as_json).status_code == 200
        problem(small.post("/v1/query", content=full + b" ", headers=as_json), 413)
        chunked = iter([full, b" "])
        problem(small.post("/v1/query", content=chunked, headers=as_json), 413)


def test_large_pictures_are_refused_by_their_header(hasty: Served) -> None:
    data = huge_png(20_000)
    assert len(data) < 1_000_000
    found = problem(hasty.post("/v1/query", files={"file": data}), 413)
    assert found["picture_status"] == "too-large"


HEAD = b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def answered(port: int, head: bytes, drop: bytes = b"", every_s: float = 0.05) -> bytes:
    """Send a head, then drops for ever; return all that comes until the connection ends."""
    came = b""
    with socket.create_connection(("127.0.0.1", port), timeout=every_s) as raw:
        raw.sendall(head)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                raw.sendall(drop)
                part = raw.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return came
            if not part:
                return came
            came += part
    pytest.fail("the connection never ended")


@pytest.mark.parametrize("drop", [b"", b" "], ids=["nothing", "drops"])
def test_slow_bodies_time_out(hasty: Served, drop: bytes) -> None:
    began = time.monotonic()
    came = answered(hasty.port, HEAD + b"Content-Length: 10000\r\n\r\n", drop)
    assert came.startswith(b"HTTP/1.1 408 ")
    assert b"within 0.4 s" in came
    assert time.monotonic() - began < 10
    chunked = answered(hasty.port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")
    assert chunked.startswith(b"HTTP/1.1 408 ")


def test_slow_forms_time_out(hasty: Served) -> None:
    head = b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n"
    head += b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    assert answered(hasty.port, head).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("head", [b"", b"GET /liv", b"GET /livez HTTP/1.1\r\nHost: l"], ids=len)
def test_heads_that_never_end_are_left(
    hasty: Served, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.3)
    assert answered(hasty.port, head) == b""


def test_a_body_that_goes_on_after_its_answer_is_left(
    hasty: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "GRACE_S", 0.2)
    head = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert answered(hasty.port, head, b"1\r\n \r\n").startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\nHost\r\n\r\n"])
def test_what_is_no_http_is_answered_as_everything_else(hasty: Served, sent: bytes) -> None:
    head, _, body = answered(hasty.port, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    assert b'"status": 400' in body


def test_one_connection_serves_many_requests(hasty: Served) -> None:
    connection = HTTPConnection("127.0.0.1", hasty.port, timeout=30)
    connection.connect()
    connected = connection.sock
    for _ in range(3):
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"status": "ok"}')
        time.sleep(0.6)  # longer than a body may take
    assert connection.sock is connected
    connection.close()


def is_reset(raw: socket.socket) -> bool:
    """Send something; tell whether nobody takes it any more."""
    try:
        raw.sendall(b"\r\n")
    except ConnectionError:
        return True
    return False


def test_who_does_not_read_is_left(hasty: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold a snapshot open for ever."""
    monkeypatch.setattr(server, "SEND_S", 0.3)
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(30)
        raw.connect(("127.0.0.1", hasty.port))
        raw.sendall(1000 * b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: is_reset(raw))
    assert hasty.get("/livez").status_code == 200


def test_small_answers_come_at_once() -> None:
    """Their body must not wait until their head was acknowledged, which takes 40 ms."""
    with server.listening(QUICK) as bound:
        with socket.create_connection(bound.getsockname()):
            accepted, _ = bound.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
