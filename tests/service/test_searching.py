"""annidx.service.searching: what is near to what is sent, what is held, and a vector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import annidx
from tests.commands.running import PICTURES
from tests.service.serving import Served, problem, serving

COFFEE = PICTURES / "2020-home" / "coffee.jpg"
ANSWER = {"matches", "count", "complete", "exact", "engine", "recall", "metric", "cutoff", "k"}
ANSWER |= {"snapshot", "chance", "index", "milliseconds"}


def number_of(index: Path, picture: Path) -> int:
    opened = annidx.open(index)
    (match, *_) = opened.query(picture.read_bytes(), metric="thumb")
    assert match.path == str(picture)
    return match.image_id


def paths(answer: dict[str, Any]) -> list[str]:
    return [match["path"] for match in answer["matches"]]


def test_a_picture_that_is_sent_finds_its_copies(served: Served, index: Path) -> None:
    sent = {"file": ("x.jpg", COFFEE.read_bytes())}
    answer = served.post("/v1/query", files=sent, data={"k": "3"})
    assert answer.status_code == 200
    found = answer.json()
    assert set(found) == ANSWER
    expected = annidx.open(index).query(COFFEE.read_bytes(), k=3)
    assert paths(found) == [match.path for match in expected]
    assert [each["distance"] for each in found["matches"]] == [each.distance for each in expected]
    assert found["matches"][0]["kind"] == "identical"
    assert (found["snapshot"], found["k"], found["complete"]) == (1, 3, expected.answer.complete)
    assert found["milliseconds"] > 0


def test_a_picture_of_the_index_is_asked_by_its_number(served: Served, index: Path) -> None:
    number = number_of(index, COFFEE)
    found = served.post("/v1/query", json={"id": number, "metric": "thumb", "cutoff": 600}).json()
    expected = annidx.open(index).query(COFFEE, metric="thumb", cutoff=600)
    assert paths(found) == [match.path for match in expected]
    assert str(COFFEE) not in paths(found)
    near = served.get(
        f"/v1/images/{number}/neighbours", params={"metric": "thumb", "cutoff": "600"}
    )
    assert near.json()["matches"] == found["matches"]


def test_a_vector_is_asked_as_it_is(served: Served, index: Path) -> None:
    opened = annidx.open(index)
    thumb = opened.picture(number_of(index, COFFEE)).descriptors["thumb"]
    vector = np.frombuffer(thumb, np.uint8).tolist()
    found = served.post("/v1/query", json={"vector": vector, "k": 2}).json()
    assert (found["metric"], found["matches"][0]["distance"]) == ("thumb", 0.0)
    assert paths(found)[0] == str(COFFEE)


def test_a_batch_has_the_answers_of_its_queries_in_their_order(served: Served) -> None:
    found = served.post("/v1/query/batch", json={"ids": [9, 3, 9], "metric": "thumb"}).json()
    one = [served.post("/v1/query", json={"id": at, "metric": "thumb"}).json() for at in (9, 3)]
    matches = [each["matches"] for each in found["results"]]
    assert matches == [one[0]["matches"], one[1]["matches"], one[0]["matches"]]
    vectors = {"vectors": [[0] * 1200, [255] * 1200], "k": 1, "cutoff": 100_000}
    found = served.post("/v1/query/batch", json=vectors).json()
    assert [each["count"] for each in found["results"]] == [1, 1]


def test_filters_count_as_if_there_were_no_other_pictures(served: Served) -> None:
    wanted = {"paths": ["exports/**"], "formats": ["jpg"]}
    body = {"id": 3, "cutoff": 5000, "k": 100, "filters": wanted}
    found = served.post("/v1/query", json=body).json()
    assert found["count"] > 0
    assert all("/exports/" in path for path in paths(found))


OPTIONS: list[dict[str, Any]] = [
    {"false_pairs": 100.0},
    {"fpr": 1e-9},
    {"match": "strict"},
    {"views": "fast"},
    {"kinds": ["edited"]},
    {"exact": True},
    {"cutoff_from": 1},
    {"metric": "thumb", "transforms": "flips"},
    {"metric": "signature", "k": 1},
    {"companions": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_means_what_it_means_in_the_api(
    served: Served, index: Path, options: dict[str, Any]
) -> None:
    opened = annidx.open(index)
    found = served.post("/v1/query", json={"id": 5, **options})
    assert found.status_code == 200, found.text
    expected = opened.query(opened.picture(5), **options)
    assert paths(found.json()) == [match.path for match in expected]
    assert found.json()["exact"] == expected.answer.exact
    assert found.json()["chance"] == expected.answer.chance


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "give either id or vector"),
    ({"id": 1, "vector": [1]}, "give either id or vector"),
    ({"id": 1, "url": "http://127.0.0.1/x.jpg"}, "url"),
    ({"id": 1, "path": "/etc/passwd"}, "path"),
    ({"id": "1"}, "id"),
    ({"id": -1}, "id"),
    ({"id": 1, "k": 0}, "k"),
    ({"id": 1, "k": 1001}, "k"),
    ({"id": 1, "cutoff": -1}, "cutoff"),
    ({"id": 1, "metric": "pHash"}, "unknown metric 'pHash'"),
    ({"id": 1, "metric": "gray8"}, "does not hold gray8"),
    ({"id": 1, "match": "strict", "cutoff": 5}, "give one of the two"),
    ({"id": 1, "filters": {"formats": ["exe"]}}, "unknown format 'exe'"),
    ({"id": 1, "filters": {"paths": ["[z-a]"]}}, "makes no sense"),
    ({"vector": [1, 2, 3]}, "1200"),
    ({"vector": [-1] * 1200}, "from 0 to 255"),
    ({"vector": [1] * 1200, "kinds": ["identical"]}, "kinds goes with pictures"),
    ({"vector": [1] * 1200, "metric": "fingerprint"}, "ask by the picture"),
]


@pytest.mark.parametrize(("body", "said"), REFUSED, ids=str)
def test_what_makes_no_sense_is_refused_in_words(
    served: Served, body: dict[str, Any], said: str
) -> None:
    assert said in problem(served.post("/v1/query", json=body), 422)["detail"]


def test_what_is_no_request_is_refused(served: Served) -> None:
    as_json = {"content-type": "application/json"}
    for content in (b"{", b"", b"\xff", b"[" * 100_000, b"NaN,"):
        problem(served.post("/v1/query", content=content, headers=as_json), 400)
    problem(served.post("/v1/query", content=b"null", headers=as_json), 422)
    problem(served.post("/v1/query", content=b"{}"), 415)
    problem(served.post("/v1/query", content=b"id=1", headers={"content-type": "text/plain"}), 415)
    form = {"content-type": "multipart/form-data"}
    problem(served.post("/v1/query", content=b"x", headers=form), 400)
    problem(served.post("/v1/query", files={"picture": b"x"}), 422)
    two = [("file", ("a", b"x")), ("file", ("b", b"x"))]
    problem(served.post("/v1/query", files=two), 400)
    many = {f"field{at}": "x" for at in range(60)}
    problem(served.post("/v1/query", files={"file": b"x"}, data=many), 400)
    problem(served.post("/v1/query", files={"file": b"x"}, data={"k": "many"}), 422)


def test_what_is_not_there_is_404(served: Served) -> None:
    assert "picture 99" in problem(served.post("/v1/query", json={"id": 99}), 404)["detail"]
    problem(served.post("/v1/query/batch", json={"ids": [1, 99]}), 404)
    problem(served.get("/v1/images/99/neighbours"), 404)
    problem(served.post("/v1/query?index=other", json={"id": 1}), 404)
    problem(served.get("/nothing"), 404)
    problem(served.get("/v1/query"), 405)


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0" + bytes(200)], ids=len)
def test_what_is_no_picture_is_415(served: Served, data: bytes) -> None:
    found = problem(served.post("/v1/query", files={"file": ("x.jpg", data)}), 415)
    assert found["picture_status"] in ("empty", "not-a-picture", "unreadable")


def test_several_indexes_are_told_apart_by_name(index: Path, unlike: Path) -> None:
    with serving({"first": index, "second": unlike}) as both:
        names = both.get("/v1/snapshot").json()
        assert (names["index"], names["indexes"]) == ("first", ["first", "second"])
        assert both.get("/v1/snapshot", params={"index": "second"}).json()["pictures"] == 2
        problem(both.post("/v1/query?index=second", json={"id": 5}), 404)
        found = both.post("/v1/query?index=first", json={"id": 5, "metric": "thumb"}).json()
        assert found["index"] == "first"
        assert 'annidx_pictures{index="second"} 2' in both.get("/metrics").text
