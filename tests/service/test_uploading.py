"""annidx.service.uploading: PUT then found, DELETE then gone, and the verdict on what comes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.commands.running import PICTURES, entry_point, environment, run
from tests.service.serving import Served, problem, serving, until
from tests.service.test_health import publish_again

COFFEE = (PICTURES / "2020-home" / "coffee.jpg").read_bytes()
MIRRORED = (PICTURES / "2020-home" / "coffee-mirrored.jpg").read_bytes()


@pytest.fixture(scope="module")
def adding(unlike: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a service of two pictures, to which more are added."""
    copy = shutil.copytree(unlike, tmp_path_factory.mktemp("adding") / "index")
    with serving(Path(copy)) as service:
        yield service


@pytest.fixture
def empty(adding: Served) -> Iterator[Served]:
    """Return that service without uploads."""
    yield adding
    for key in list(adding.service.holder.of().uploads.rows):
        adding.client.delete(f"/v1/images/{key}")


def put(served: Served, key: str, data: bytes, **fields: str) -> httpx.Response:
    return served.client.put(f"/v1/images/{key}", files={"file": data}, data=fields)


def keys(answer: httpx.Response) -> list[str]:
    assert answer.status_code in (200, 201), answer.text
    return [match["key"] for match in answer.json()["matches"] if "key" in match]


def near(served: Served, data: bytes = COFFEE, **fields: str) -> list[str]:
    return keys(served.post("/v1/query", files={"file": data}, data=fields))


def test_put_then_found_within_a_second_delete_then_gone(empty: Served) -> None:
    assert near(empty) == []
    began = time.monotonic()
    answer = put(empty, "mug 7", COFFEE, payload='{"shop": "a"}')
    assert answer.status_code == 201
    told = answer.json()
    assert (told["key"], told["created"], told["stored"]) == ("mug 7", True, True)
    assert (told["verdict"], told["matches"], told["uploads"]) == ("accept", [], 1)
    assert near(empty, MIRRORED) == ["mug 7"]
    assert time.monotonic() - began < 10  # the machine may be busy; alone it takes 0.2 s
    (match,) = empty.post("/v1/query", files={"file": COFFEE}).json()["matches"]
    assert (match["kind"], match["payload"], match["chance"]) == ("identical", {"shop": "a"}, 0.0)
    assert "path" not in match
    assert empty.client.delete("/v1/images/mug 7").json()["deleted"] is True
    assert near(empty) == []
    problem(empty.client.delete("/v1/images/mug 7"), 404)


def test_what_is_put_again_takes_the_place_of_the_first(empty: Served) -> None:
    scan = (PICTURES / "scans" / "cameraman.jpg").read_bytes()
    assert put(empty, "x", scan).status_code == 201
    answer = put(empty, "x", COFFEE, payload='{"v": 2}')
    assert (answer.status_code, answer.json()["created"]) == (200, False)
    assert near(empty) == ["x"]
    assert near(empty, scan) == []
    told = empty.get("/v1/images/x").json()
    assert (told["key"], told["payload"], told["width"]) == ("x", {"v": 2}, 480)
    assert keys(put(empty, "x", COFFEE)) == []  # it is no near-duplicate of itself


def test_verdicts(empty: Served) -> None:
    assert put(empty, "a", COFFEE).json()["verdict"] == "accept"
    again = put(empty, "b", COFFEE, keep="unless-rejected").json()
    assert (again["verdict"], again["stored"], again["created"]) == ("reject", False, False)
    assert keys(put(empty, "c", MIRRORED)) == ["a"]
    problem(empty.get("/v1/images/b"), 404)
    judged = empty.post("/v1/query", files={"file": COFFEE}, data={"judge": "true"}).json()
    assert judged["verdict"] == "reject"
    refused = empty.post("/v1/query", json={"id": 1, "judge": True, "cutoff": 3})
    assert "leave out cutoff" in problem(refused, 422)["detail"]
    assert empty.post("/v1/query", json={"id": 1, "judge": True}).json()["verdict"] == "accept"


def test_of_two_equal_pictures_that_come_at_once_one_is_rejected(empty: Served) -> None:
    verdicts: list[str] = []

    def ask(key: str) -> None:
        verdicts.append(put(empty, key, COFFEE).json()["verdict"])

    asking = [threading.Thread(target=ask, args=(f"k{at}",)) for at in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert sorted(verdicts) == ["accept", "reject", "reject", "reject"]
    assert sorted(near(empty)) == ["k0", "k1", "k2", "k3"]


def test_payloads_filter(empty: Served) -> None:
    for key, shop in (("a", 1), ("b", 2)):
        put(empty, key, COFFEE, payload=json.dumps({"shop": shop, "tags": ["x"]}))
    assert near(empty, payload='{"shop": 2}') == ["b"]
    assert sorted(near(empty, payload='{"tags": ["x"]}')) == ["a", "b"]
    assert near(empty, payload='{"shop": "2"}') == []


def test_thumbs_and_signatures_find_them_too(empty: Served) -> None:
    put(empty, "a", COFFEE)
    for metric in ("thumb", "signature"):
        assert near(empty, metric=metric) == ["a"]
        assert near(empty, MIRRORED, metric=metric, transforms="flips") == ["a"]


@pytest.mark.parametrize(
    ("key", "fields", "status"),
    [
        ("a", {"payload": "[]"}, 422),
        ("a", {"payload": "{"}, 422),
        ("a", {"payload": json.dumps({"a": "x" * 5000})}, 422),
        ("a", {"keep": "never"}, 422),
        ("a", {"k": "3"}, 422),
        ("x" * 201, {}, 422),
        ("a%0Ab", {}, 422),
        ("a%00b", {}, 422),
        ("a/b", {}, 404),
        ("..%2F..%2Fetc%2Fpasswd", {}, 404),
    ],
    ids=str,
)
def test_what_makes_no_sense_adds_nothing(
    empty: Served, key: str, fields: dict[str, str], status: int
) -> None:
    problem(put(empty, key, COFFEE, **fields), status)
    assert near(empty) == []


def test_what_is_no_picture_adds_nothing(empty: Served) -> None:
    problem(put(empty, "a", b"no picture"), 415)
    problem(empty.client.put("/v1/images/a", content=COFFEE), 415)
    problem(empty.client.put("/v1/images/a", files={"other": COFFEE}), 422)
    assert len(empty.service.holder.of().uploads) == 0


def test_keys_are_any_text(empty: Served) -> None:
    for key in ("<script>alert(1)", "7", "ключ", "a'b\"c", "."):
        quoted = str(httpx.QueryParams({"k": key}))[2:].replace("+", "%20")
        quoted = quoted.replace(".", "%2E")
        assert put(empty, quoted, COFFEE).status_code == 201, key
        answer = empty.get(f"/v1/images/{quoted}")
        assert answer.json()["key"] == key
        assert (
            b"<script>" not in answer.content
            or answer.headers["content-type"] == "application/json"
        )


def test_pictures_are_never_written(empty: Served) -> None:
    marker = b"MARKER-OF-THIS-UPLOAD"
    put(empty, "a", COFFEE + marker)
    place = empty.service.holder.of().place
    whole = [path.read_bytes() for path in place.rglob("*") if path.is_file()]
    assert len(whole) > 5
    assert not any(marker in data or COFFEE[1000:1200] in data for data in whole)


def test_uploads_stay_when_snapshots_come(small_index: Path) -> None:
    with serving(small_index) as served:
        put(served, "a", COFFEE)
        publish_again(small_index)
        until(lambda: served.get("/v1/snapshot").json()["snapshot"] == 2)
        assert near(served) == ["a"]
    with serving(small_index) as served:
        assert near(served) == ["a"]
        assert served.get("/v1/images/a").json()["key"] == "a"


def start(index: Path) -> tuple[subprocess.Popen[str], httpx.Client]:
    """Start the real command, and wait until it is ready."""
    command = [str(entry_point()), "serve", "--index", str(index), "--port", "0", "--json"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment({}))
    assert running.stdout is not None
    client = httpx.Client(base_url=json.loads(running.stdout.readline())["address"], timeout=60)
    until(lambda: client.get("/readyz").status_code == 200)
    return running, client


def test_kill_9_between_and_after(small_index: Path) -> None:
    def ask(client: httpx.Client) -> list[str]:
        return sorted(keys(client.post("/v1/query", files={"file": COFFEE})))

    def add(client: httpx.Client, key: str) -> dict[str, Any]:
        told: dict[str, Any] = client.put(f"/v1/images/{key}", files={"file": COFFEE}).json()
        return told

    running, client = start(small_index)
    assert add(client, "one")["verdict"] == "accept"
    running.send_signal(signal.SIGKILL)
    running.wait()
    client.close()
    assert running.stdout is not None
    running.stdout.close()

    running, client = start(small_index)
    assert ask(client) == ["one"]
    assert add(client, "two")["verdict"] == "reject"
    assert client.delete("/v1/images/one").status_code == 200
    running.send_signal(signal.SIGKILL)
    running.wait()
    client.close()
    assert running.stdout is not None
    running.stdout.close()

    with serving(small_index) as served:
        assert near(served) == ["two"]


def test_uploads_without_the_metric_are_counted_and_later_ones_go_on(small_index: Path) -> None:
    """The index began to hold another descriptor after the first upload."""
    with serving(small_index) as served:
        assert put(served, "before", COFFEE).status_code == 201
        assert "uploads_left_out" not in served.post("/v1/query", json={"id": 1}).json()
        run("build", "--descriptors", "thumb,signature,gray8,fingerprint", index=small_index)
        held = served.service.holder.of()
        until(lambda: "gray8" in held.index.manifest.descriptors)
        assert put(served, "after", MIRRORED).status_code == 201
        told = served.post("/v1/query", files={"file": COFFEE}, data={"metric": "gray8"}).json()
        assert (told["uploads_left_out"], told["complete"], told["matches"]) == (2, False, [])
        number = int(held.index.picture_ids()[0])
        asked = served.get(f"/v1/images/{number}/neighbours", params={"metric": "gray8"}).json()
        assert asked["uploads_left_out"] == 2
        assert sorted(near(served)) == ["after", "before"]
        assert sorted(near(served, metric="thumb", transforms="all")) == ["after", "before"]
