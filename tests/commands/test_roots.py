"""annidx roots: what is indexed, changed without reading a picture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.commands.running import PICTURES, complaint, json_lines, run


def test_list(index: Path) -> None:
    assert run("roots", "list", index=index).stdout == f"online   {PICTURES}\n1 root\n"


def test_common_options_may_stand_behind_the_action(index: Path) -> None:
    lines = run("roots", "list", "--json", "--index", index).stdout.splitlines()
    row, summary = [json.loads(line) for line in lines]
    assert row == {"path": str(PICTURES), "status": "online"}
    assert summary == {"message_type": "summary", "roots": 1, "snapshot": 1}


def test_add_notes_a_root_and_the_next_build_reads_it(own_index: Path, album: Path) -> None:
    done = run("roots", "add", album, index=own_index)
    assert done.stdout.splitlines()[-1] == 'noted; "annidx build" reads them'
    line = complaint("roots", "move", PICTURES, album, index=own_index, code=2)
    assert f"{album} overlaps with the root {album}" in line
    _, report = json_lines("build", index=own_index, code=3)
    assert (report["images"], report["added"]) == (66, 3)


def test_move_reads_nothing_and_remove_touches_no_file(tmp_path: Path, album: Path) -> None:
    index, other = tmp_path / "index", tmp_path / "other"
    other.mkdir()
    shutil.copy(PICTURES / "scans" / "brick-wall.jpg", other)
    run("build", album, other, index=index)
    moved = album.rename(tmp_path / "moved")
    done = run("roots", "move", album, moved, index=index)
    assert done.stdout.splitlines()[-1] == "moved; nothing was read again"
    rows, _ = json_lines("pairs", index=index)
    assert [(row["a"], row["b"]) for row in rows] == [
        (str(moved / "coffee.jpg"), str(moved / "coffee_small.jpg"))
    ]
    _, report = json_lines("build", index=index)
    assert (report["images"], report["added"], report["decoded"]) == (4, 0, 0)
    done = run("roots", "remove", moved, index=index)
    assert done.stdout == f"online   {other}\n3 pictures taken out of the index\n"
    assert len(list(moved.iterdir())) == 3


def test_what_is_no_root_or_no_folder(own_index: Path, tmp_path: Path) -> None:
    line = complaint("roots", "remove", tmp_path, index=own_index, code=1)
    assert f"{tmp_path} is not a root of this index; its roots: {PICTURES}" in line
    line = complaint("roots", "add", tmp_path / "missing", index=own_index, code=1)
    assert f"no such folder: {tmp_path / 'missing'}" in line
    line = complaint("roots", "move", PICTURES, tmp_path / "missing", index=own_index, code=1)
    assert f"no such folder: {tmp_path / 'missing'}" in line


@pytest.mark.parametrize("action", [["remove", "x"], ["move", "x", "."]])
def test_without_an_index_nothing_is_made(tmp_path: Path, action: list[str]) -> None:
    index = tmp_path / "index"
    line = complaint("roots", *action, index=index, cwd=tmp_path, code=10)
    assert f"{index}: there is no index here" in line
    assert not index.exists()
