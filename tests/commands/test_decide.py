"""``annidx decide``: what is recorded, and what searches make of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.commands.running import PICTURES, closing, complaint, json_lines, run, usage_error

HOME = PICTURES / "2020-home"
COFFEE, EDIT, CAT = HOME / "coffee.jpg", HOME / "coffee-edit.jpg", PICTURES / "scans/cameraman.jpg"


def test_decisions_are_listed_and_taken_back(own_index: Path) -> None:
    done = run("decide", "--remove", EDIT, "--for", COFFEE, index=own_index)
    assert done.stdout.startswith(f"    1  remove         {EDIT}  for {COFFEE}  (")
    assert closing(done) == "1 decision recorded; 1 stand now"
    run("decide", "--keep", CAT, COFFEE, index=own_index)
    run("decide", "--protect", HOME, index=own_index)
    rows, summary = json_lines("decide", "--list", index=own_index)
    assert [(row["number"], row["verdict"], row["path"]) for row in rows] == [
        (1, "remove", str(EDIT)),
        (2, "keep", str(CAT)),
        (3, "keep", str(COFFEE)),
        (4, "protect", str(HOME)),
    ]
    assert (rows[0]["other"], rows[0]["kind"]) == (str(COFFEE), "edited")
    assert summary == {"count": 4, "standing": 4}
    assert "keep" in run("decide", "--undo", "2", index=own_index).stdout
    assert "protect" in run("decide", "--undo", index=own_index).stdout
    assert [row["number"] for row in json_lines("decide", "--list", index=own_index)[0]] == [1, 3]
    run("decide", "--protect", HOME, index=own_index)
    run("decide", "--unprotect", HOME, index=own_index)
    assert "is not protected" in complaint("decide", "--unprotect", HOME, code=2, index=own_index)


def test_what_is_refused(own_index: Path) -> None:
    words = ("decide", "--remove", CAT, "--for", COFFEE)
    assert "does not match" in complaint(*words, code=1, index=own_index)
    assert "go together" in complaint("decide", "--remove", CAT, code=2, index=own_index)
    assert "go together" in complaint("decide", "--list", "--for", CAT, code=2, index=own_index)
    assert "required" in usage_error("decide", index=own_index)
    assert "no picture of the index" in complaint(
        "decide", "--keep", own_index, code=2, index=own_index
    )
    assert json_lines("decide", "--list", index=own_index)[1]["count"] == 0


@pytest.mark.parametrize(
    "words", [("--metric", "fingerprint"), ("--metric", "thumb", "--cutoff", "2500")], ids=str
)
def test_what_is_no_duplicate_stays_away(own_index: Path, words: tuple[str, ...]) -> None:
    both = {str(COFFEE), str(EDIT)}

    def found(*more: str) -> list[bool]:
        pairs, _ = json_lines("pairs", *words, *more, index=own_index)
        asked, _ = json_lines("query", COFFEE, *words, *more, index=own_index)
        every, _ = json_lines("query", "--all", *words, *more, index=own_index)
        return [
            both in [{row["a"], row["b"]} for row in pairs],
            str(EDIT) in [row["path"] for row in asked],
            both in [{row["query"], row["path"]} for row in every],
        ]

    before = found()
    assert any(before)
    run("decide", "--not-duplicate", EDIT, COFFEE, index=own_index)
    assert found() == [False] * 3
    assert found("--decided") == before
    run("decide", "--undo", index=own_index)
    assert found() == before


def test_groups_do_not_join_what_is_no_duplicate(tmp_path: Path) -> None:
    folder, index = tmp_path / "photos", tmp_path / "index"
    folder.mkdir()
    for path in (COFFEE, EDIT):
        shutil.copy(path, folder)
    run("build", folder, index=index)
    assert len(json_lines("groups", index=index)[0]) == 1
    words = ("--not-duplicate", folder / COFFEE.name, folder / EDIT.name)
    run("decide", *words, index=index)
    assert json_lines("groups", index=index)[0] == []
    assert json_lines("has", folder / EDIT.name, code=20, index=index)[1]["count"] == 0
    assert len(json_lines("groups", "--decided", index=index)[0]) == 1
    json_lines("has", folder / EDIT.name, "--decided", index=index)
