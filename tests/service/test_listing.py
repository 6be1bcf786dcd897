"""annidx.service.listing: pages and JSON lines of all pairs and groups, and their cursors."""

from __future__ import annotations

import json
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

import annidx
from annidx import Index
from annidx.exports import pair_fields
from annidx.fields import group_fields
from annidx.service import bodies, listing
from tests.service.serving import Served, problem, serving, until
from tests.service.test_health import publish_again

THUMBS = {"metric": "thumb", "cutoff": "800"}
LINES = {"accept": "application/x-ndjson"}


def pages(served: Served, what: str, **parameters: str) -> list[dict[str, Any]]:
    """Return the rows of all pages."""
    rows: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        given = {**parameters, **({"cursor": cursor} if cursor else {})}
        page = served.get(f"/v1/{what}", params=given)
        assert page.status_code == 200, page.text
        rows += page.json()[what]
        cursor = page.json()["next"]
    return rows


def test_pages_make_up_all_pairs(served: Served, index: Path) -> None:
    expected = [
        pair_fields(pair) for pair in annidx.open(index).find_pairs(metric="thumb", cutoff=800)
    ]
    assert len(expected) > 20
    for limit in ("7", str(len(expected)), "1000"):
        assert pages(served, "pairs", limit=limit, **THUMBS) == expected
    told = served.get("/v1/pairs", params={"limit": "1", **THUMBS}).json()
    assert (told["count"], told["complete"], told["metric"]) == (len(expected), True, "thumb")


def test_pages_make_up_all_groups(served: Served, index: Path) -> None:
    found = annidx.open(index).groups(metric="thumb", cutoff=800, linkage="star")
    expected = [group_fields(group) for group in found]
    assert len(expected) > 2
    assert pages(served, "groups", limit="2", linkage="star", **THUMBS) == expected


def test_fingerprints_are_explained(served: Served, index: Path) -> None:
    expected = [pair_fields(pair) for pair in annidx.open(index).find_pairs()]
    assert json.loads(json.dumps(expected)) == pages(served, "pairs", limit="50")


@pytest.mark.parametrize("what", ["pairs", "groups"])
def test_json_lines_are_all_rows_and_a_summary(served: Served, what: str) -> None:
    answer = served.get(f"/v1/{what}", params=THUMBS, headers=LINES)
    assert answer.headers["content-type"] == "application/x-ndjson"
    *rows, summary = map(json.loads, answer.text.splitlines())
    assert rows == pages(served, what, **THUMBS)
    assert (summary["message_type"], summary["count"]) == ("summary", len(rows))
    assert (summary["complete"], summary["snapshot"]) == (True, 1)


def test_json_lines_go_on_from_a_cursor(served: Served) -> None:
    page = served.get("/v1/pairs", params={"limit": "5", **THUMBS}).json()
    rest = served.get("/v1/pairs", params={"cursor": page["next"], **THUMBS}, headers=LINES)
    rows = list(map(json.loads, rest.text.splitlines()))[:-1]
    assert page["pairs"] + rows == pages(served, "pairs", **THUMBS)


def test_a_cursor_goes_on_with_its_own_question_alone(served: Served) -> None:
    cursor = served.get("/v1/pairs", params={"limit": "5", **THUMBS}).json()["next"]
    for parameters in (
        {"metric": "thumb", "cutoff": "799", "cursor": cursor},
        {"cursor": cursor},
        {**THUMBS, "cursor": "x"},
        {**THUMBS, "cursor": "é"},
        {**THUMBS, "cursor": ""},
        {**THUMBS, "cursor": cursor[:-4]},
        {**THUMBS, "cursor": "W3RydWUsMCwieCJd"},
    ):
        assert "cursor" in problem(served.get("/v1/pairs", params=parameters), 400)["detail"]


def test_parameters_are_checked(served: Served) -> None:
    for parameters in (
        {"limit": "0"},
        {"limit": "1001"},
        {"cutoff": "-1"},
        {"cutoff": "nan"},
        {"metric": "pHash"},
        {"kinds": "other"},
        {"since": "yesterday"},
        {"linkage": "star"},  # goes with groups
        {"between": "/etc"},  # no path of a client is looked at
        {"max_pairs": "3", **THUMBS},
    ):
        problem(served.get("/v1/pairs", params=parameters), 422)
    problem(served.get("/v1/groups", params={"index": "other"}), 404)


def test_filters_and_kinds(served: Served) -> None:
    parameters = {"kinds": ["identical", "same-pixels"], "path": ["*.jpg"]}
    found = served.get("/v1/pairs", params=parameters).json()["pairs"]
    assert found
    assert {pair["kind"] for pair in found} <= {"identical", "same-pixels"}
    assert all(pair[side].endswith(".jpg") for pair in found for side in "ab")


def test_cursors_end_with_their_snapshot_and_so_does_what_was_kept(small_index: Path) -> None:
    wide = {"cutoff": "100000", "limit": "1", "max_pairs": "1000"}
    with serving(small_index) as served:
        held = served.service.holder.of()
        found = served.get("/v1/groups", params=wide).json()
        assert (found["count"], found["next"]) == (0, None)  # signatures object
        cursor = served.get("/v1/pairs", params={**wide, "cursor": _cursor_of(served, wide)})
        assert cursor.status_code == 200
        old, snapshot = _cursor_of(served, wide), weakref.ref(held.index)
        publish_again(small_index)
        until(lambda: held.index.manifest.number == 2)
        told = problem(served.get("/v1/pairs", params={**wide, "cursor": old}), 400)
        assert "snapshot 1, the current one is 2" in told["detail"]
        until(lambda: snapshot() is None)
        assert served.get("/v1/pairs", params=wide).json()["snapshot"] == 2


def _cursor_of(served: Served, parameters: dict[str, str]) -> str:
    """Return a cursor that goes on after the only pair."""
    asked = bodies.PairQuery.model_validate(parameters)
    return listing._cursor(served.service.holder.of().index.manifest.number, 1, asked)


def test_searches_of_all_pairs_are_done_one_at_a_time(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, begun = threading.Event(), []
    search = Index.find_pairs

    def slowly(self: Index, **options: Any) -> Any:
        begun.append(options)
        go_on.wait(60)
        return search(self, **options)

    monkeypatch.setattr(Index, "find_pairs", slowly)
    with serving(index) as served:
        answers = []

        def ask() -> None:
            answers.append(served.get("/v1/pairs", params=THUMBS).status_code)

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        until(lambda: served.service.joins.taken == 2)
        problem(served.get("/v1/pairs", params=THUMBS), 429)
        assert served.post("/v1/query", json={"id": 1, "metric": "thumb"}).status_code == 200
        go_on.set()
        for thread in asking:
            thread.join()
        assert answers == [200, 200]
        assert len(begun) == 1  # the second found the answer of the first
