"""annidx status: what the current snapshot holds, and what could not be read."""

from __future__ import annotations

import os
import re
from pathlib import Path

from annidx.model import STATUSES
from tests.commands.running import PICTURES, REPOSITORY, json_lines, run

BROKEN = ["downloads/mountains-4k.jpg", "phone/IMG_20200602_081409.jpg"]


def test_people_see_counts_roots_and_graphs(index: Path) -> None:
    done = run("status", index=index)
    lines = done.stdout.splitlines()
    facts = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line}
    assert facts["index"] == str(index)
    assert facts["snapshot"].startswith("1, 20")
    assert facts["pictures"] == "63, 2 unreadable"
    assert facts["root"] == f"{PICTURES} (online)"
    assert facts["on"].startswith("disk    2 segments, ")
    assert facts["graph"].startswith("fingerprint: ")
    assert "recall 1.0000 of " in facts["graph"]
    assert facts["left"] == "out   1 not-a-picture"
    assert "companions" not in facts
    assert lines[-1] != "", "it ends with an empty line"


def test_json_has_the_same_facts(index: Path) -> None:
    rows, summary = json_lines("status", index=index)
    assert rows == []
    assert (summary["images"], summary["failed"], summary["snapshot"]) == (63, 2, 1)
    assert summary["with_companions"] == 0
    assert summary["statuses"] == {"ok": 63, "unreadable": 2, "not-a-picture": 1}
    assert summary["roots"] == [{"path": str(PICTURES), "status": "online"}]
    assert summary["segments"] == 2
    graphs = [(graph["metric"], graph["used"]) for graph in summary["graphs"]]
    assert graphs == [("fingerprint", True)]
    assert summary["uncovered"] == {"fingerprint": 0}
    big = [*index.glob("segments/*.parquet"), *index.glob("graphs/*.hnsw")]
    assert summary["bytes"] == sum(file.stat().st_size for file in big)


def test_what_no_graph_covers_is_told(small_index: Path, album: Path) -> None:
    run("build", album, index=small_index)
    assert json_lines("status", index=small_index)[1]["uncovered"] == {"fingerprint": 3}
    text = run("status", index=small_index).stdout
    assert "no graph   fingerprint: 3 pictures searched exactly" in text


def test_graphs_of_several_metrics(thumb_index: Path) -> None:
    _, summary = json_lines("status", index=thumb_index)
    graphs = [(graph["metric"], graph["used"]) for graph in summary["graphs"]]
    assert graphs == [("fingerprint", True), ("thumb", True)]
    assert summary["uncovered"] == {"fingerprint": 0, "thumb": 0}


def test_failed_names_the_files_and_the_reasons(index: Path) -> None:
    *lines, last = run("status", "--failed", index=index).stdout.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == ["unreadable"] * 2
    assert [line.split(maxsplit=1)[1].split(": ")[0] for line in lines] == BROKEN
    assert all(line.split(": ", 1)[1] for line in lines)
    assert last == "2 files could not be read"


def test_failed_as_json(index: Path) -> None:
    rows, summary = json_lines("status", "--failed", index=index)
    assert [row["path"] for row in rows] == [str(PICTURES / name) for name in BROKEN]
    assert all(row["status"] == "unreadable" and row["error"] for row in rows)
    assert summary["failed"] == 2


def test_the_place_of_the_index_is_absolute_and_valid_json(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    name = os.fsdecode(b"index\xff")
    run("build", "empty", index=name, cwd=tmp_path)
    _, summary = json_lines("status", index=name, cwd=tmp_path)
    assert summary["index"] == f"{tmp_path}/index�"
    assert "index_base64" in summary


def test_what_is_no_failure_is_counted_and_not_listed(album: Path, tmp_path: Path) -> None:
    """Videos, sounds, text; and a picture that ends too early, which is searched all the same."""
    whole = (PICTURES / "scans" / "brick-wall.jpg").read_bytes()
    (album / "short.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (album / "empty.jpg").touch()
    for name in ("coffee.mov", "other.mp4"):
        (album / name).write_bytes(b"\0\0\0\x14ftypqt  \0\0\0\0qt  ")
    (album / "notes.txt").write_text("no picture")
    run("build", album, index=tmp_path / "index", code=3)
    rows, summary = json_lines("status", "--failed", index=tmp_path / "index")
    assert [(Path(row["path"]).name, row["status"]) for row in rows] == [("empty.jpg", "empty")]
    _, summary = json_lines("status", index=tmp_path / "index")
    assert summary["statuses"].keys() <= STATUSES.keys()
    assert summary["statuses"]["video"] == 2
    assert (summary["images"], summary["failed"], summary["with_companions"]) == (4, 1, 1)
    lines = run("status", index=tmp_path / "index").stdout.splitlines()
    assert "pictures   4, 1 of them truncated, 1 unreadable" in lines
    shown = "companions 1 picture with a RAW or JPEG half, a Live Photo video or a sidecar"
    assert shown in lines
    assert re.search(r"\b2 videos\b", lines[-1])
    failed = run("status", "--failed", index=tmp_path / "index").stdout.splitlines()
    assert failed[0].startswith("empty         empty.jpg: ")


def test_the_readme_explains_every_status() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| status | meaning |")[2].partition("\n\n")[0]
    assert dict(re.findall(r"(?m)^\| `(.+?)` \| (.+?) \|", table)) == STATUSES
