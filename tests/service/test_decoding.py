"""annidx.service.decoding: a picture that kills its decoder, or never ends, costs itself alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from annidx.errors import PictureUnreadable
from annidx.images.decode import Limits
from annidx.images.extract import bytes_record
from annidx.service.decoding import Decoders
from tests.commands.running import PICTURES
from tests.service.lossy import lossy
from tests.service.serving import Served, problem, serving

COFFEE = PICTURES / "2020-home" / "coffee.jpg"
LIMITS = Limits(pixels=1_000_000, memory=200_000_000)
CRASH, HANG, MEMORY = b"\xff\xd8CRASH  ", b"\xff\xd8HANG   ", b"\xff\xd8MEMORY "
NAMES = ("thumb",)


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    made = Decoders(2, LIMITS, 1.0, lossy)
    made.start()
    yield made
    made.close()


def test_a_picture_is_described_as_in_this_process(decoders: Decoders) -> None:
    data = COFFEE.read_bytes()
    found, expected = decoders.record(data, NAMES), bytes_record(data, NAMES)
    assert found.descriptors == expected.descriptors
    assert found.content_hash == expected.content_hash


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [(CRASH, "crashed", "SIGSEGV"), (HANG, "timeout", "1 s"), (MEMORY, "too-large", "memory")],
    ids=["crash", "hang", "memory"],
)
def test_what_takes_its_decoder_along_is_refused(
    decoders: Decoders, data: bytes, status: str, said: str
) -> None:
    for _ in range(2):
        with pytest.raises(PictureUnreadable, match=said) as caught:
            decoders.record(data, NAMES)
        assert caught.value.status == status
    assert decoders.record(COFFEE.read_bytes(), NAMES).status == "ok"


def test_one_that_hangs_holds_up_nobody_else(decoders: Decoders) -> None:
    data, done = COFFEE.read_bytes(), []
    with ThreadPoolExecutor(1) as other:
        hanging = other.submit(pytest.raises, PictureUnreadable, decoders.record, HANG, NAMES)
        for _ in range(3):
            decoders.record(data, NAMES)
            done.append(hanging.done())
        assert done == [False] * 3


def test_pixels_are_limited_before_anything_is_decoded(decoders: Decoders) -> None:
    small = Decoders(1, Limits(pixels=1000, memory=10**9), 10.0)
    with pytest.raises(PictureUnreadable) as caught:
        small.record(COFFEE.read_bytes(), NAMES)
    assert caught.value.status == "too-large"
    small.close()


def test_an_upload_that_crashes_its_decoder_costs_that_request_alone(index: Path) -> None:
    with serving(index, decode=lossy, decode_s=3.0) as served:
        data, answers = COFFEE.read_bytes(), []

        def ask() -> None:
            answers.append(served.post("/v1/query", files={"file": data}, data={"metric": "thumb"}))

        asking = [threading.Thread(target=ask) for _ in range(3)]
        for thread in asking:
            thread.start()
        found = problem(served.post("/v1/query", files={"file": CRASH}), 415)
        assert found["picture_status"] == "crashed"
        for thread in asking:
            thread.join()
        ask()
        assert [answer.status_code for answer in answers] == [200] * 4
        assert {answer.json()["matches"][0]["kind"] for answer in answers} == {"identical"}
        assert served.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("data", "status", "code"), [(HANG, "timeout", 415), (MEMORY, "too-large", 413)]
)
def test_a_service_has_the_limits_of_its_settings(
    index: Path, data: bytes, status: str, code: int
) -> None:
    with serving(index, decode=lossy, decode_s=1.0, decode_bytes=LIMITS.memory) as served:
        found = problem(served.post("/v1/query", files={"file": data}), code)
        assert found["picture_status"] == status


def test_what_a_client_sent_is_not_told_in_full(served: Served) -> None:
    name = '"><script>alert(1)</script>\n.jpg'
    answer = served.post("/v1/query", files={"file": (name, b"\xff\xd8nothing")})
    problem(answer, 415)
    assert "<script>" not in answer.text
