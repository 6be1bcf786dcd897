"""annidx export: the rows of the other verbs, in three formats, whole or not at all."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from annidx.cli import main
from tests.commands.running import (
    PICTURES,
    SEARCH_SUMMARY,
    Row,
    complaint,
    entry_point,
    environment,
    json_lines,
    run,
    without_seconds,
)

FORMATS = ("parquet", "csv", "jsonl")
ODD = (b"\xff.jpg", b'a\n"b", it\'s.jpg', b"=cmd().jpg", "\u202egpj.x.jpg".encode())


def lines(text: str) -> list[Row]:
    """Return JSON lines as rows."""
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def read(path: Path) -> list[Row]:
    """Return the rows of a file as text, nulls as empty text."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as handle:
            return list(csv.DictReader(handle, strict=True))
    rows = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else lines(path.read_text())
    return [
        {name: as_text(value) for name, value in row.items() if value is not None} for row in rows
    ]


def as_text(value: Any) -> str:
    """Return a value as CSV has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def filled(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if value != ""} for row in rows]


def export(index: Path, *words: str) -> None:
    """Run the verb in this process: that takes a tenth of the time."""
    assert main(["--quiet", "--index", str(index), "export", *words]) == 0


def command(*words: str, index: Path) -> list[str]:
    return [str(entry_point()), "--index", str(index), "export", *words]


@pytest.fixture(scope="module")
def odd_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an index of equal pictures with hostile names."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "p").mkdir()
    for name in ODD:
        shutil.copy(PICTURES / "scans" / "cameraman.jpg", folder / "p" / os.fsdecode(name))
    run("build", folder / "p", index=folder / "index")
    return folder / "index"


def test_pairs_are_those_of_the_verb(index: Path, all_pairs: tuple[list[Row], Row]) -> None:
    exported, summary = json_lines("export", "pairs", index=index)
    columns = [{k: v for k, v in row.items() if k != "differences"} for row in all_pairs[0]]
    assert exported == columns  # the same differences are in the explanation
    assert summary.keys() >= SEARCH_SUMMARY
    assert without_seconds(summary).items() >= without_seconds(all_pairs[1]).items()
    assert (summary["rows"], summary["format"]) == (len(exported), "jsonl")


def test_search_options_are_those_of_the_verb(index: Path) -> None:
    words = ["pairs", "--metric", "signature", "--cutoff", "0.1", "--exact", "--with-companions"]
    rows, summary = json_lines(*words, index=index)
    assert len(rows) > 45
    exported, fields = json_lines("export", *words, index=index)
    assert exported == rows
    assert without_seconds(fields).items() >= without_seconds(summary).items()
    refused = complaint("export", "groups", "--max-pairs", "3", code=2, index=index)
    assert "--max-pairs" in refused


def test_groups_are_those_of_the_verb(index: Path) -> None:
    groups, summary = json_lines("groups", index=index)
    exported, fields = json_lines("export", "groups", index=index)
    assert [(row["group"], row["path"]) for row in exported] == [
        (group["group"], path) for group in groups for path in group["paths"]
    ]
    assert all(row["size"] == Path(row["path"]).stat().st_size for row in exported)
    for row in exported:
        group = groups[row["group"] - 1]
        assert row["group_size"] == group["size"]
        names = ("linkage", "metric", "diameter", "weakest", "freed_bytes")
        assert {name: row[name] for name in names} == {name: group[name] for name in names}
    assert fields["count"] == summary["count"] == len(groups)
    assert fields["rows"] == sum(group["size"] for group in groups)


def test_pictures_and_failures_are_all_that_status_counts(index: Path) -> None:
    pictures, summary = json_lines("export", "pictures", index=index)
    failed, _ = json_lines("export", "pictures", "--failed", index=index)
    listed, _ = json_lines("status", "--failed", index=index)
    assert (len(pictures), summary["count"], summary["snapshot"]) == (63, 63, 1)
    for row in pictures:
        assert row["status"] in {"ok", "truncated"}
        assert row["size"] == Path(row["path"]).stat().st_size
        assert row["mtime_ns"] == Path(row["path"]).stat().st_mtime_ns
        assert len(row["content_hash"]) == len(row["pixel_hash"]) == 64
    names = ("path", "status", "error")
    assert [{name: row[name] for name in names} for row in failed] == listed


@pytest.mark.parametrize(
    "words", [["pictures"], ["pictures", "--descriptors"], ["pairs"], ["groups"]], ids=" ".join
)
def test_all_formats_say_the_same_of_any_name(
    odd_index: Path, tmp_path: Path, words: list[str]
) -> None:
    for form in FORMATS:
        export(odd_index, *words, "-o", str(tmp_path / f"rows.{form}"))
    parquet, text, json_rows = (filled(read(tmp_path / f"rows.{form}")) for form in FORMATS)
    assert parquet == text == json_rows
    assert len(parquet) == (6 if words == ["pairs"] else 4)
    key = "a" if words == ["pairs"] else "path"
    raw = {base64.b64decode(row.get(f"{key}_base64", "")) or row[key].encode() for row in parquet}
    folder = os.fsencode(odd_index.parent / "p")
    assert raw <= {folder + b"/" + name for name in ODD}
    assert ("thumb" in parquet[0]) == ("--descriptors" in words)


def test_stdout_has_the_data_and_nothing_else(
    index: Path, all_pairs: tuple[list[Row], Row]
) -> None:
    count = len(all_pairs[0])
    for form in ("csv", "jsonl"):
        done = run("export", "pairs", "--format", form, index=index)
        rows = (
            lines(done.stdout)
            if form == "jsonl"
            else list(csv.DictReader(io.StringIO(done.stdout)))
        )
        assert len(rows) == count > 45
        assert done.stderr.startswith(
            f"{count} rows written as {form}: {count} pairs within chance 1 (fingerprint, exact"
        )
        assert done.stderr.count("\n") == 1
    quiet = run("export", "pairs", "--quiet", index=index)
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")
    json_too = run("export", "pairs", "--format", "csv", "--json", index=index)
    assert json.loads(json_too.stderr)["message_type"] == "summary"
    assert json_too.stdout.count("\n") == count + 1
    by_thumb = run("export", "pairs", "--metric", "thumb", "--format", "csv", index=index)
    assert by_thumb.stdout.count("\n") == 46
    assert by_thumb.stderr.startswith("45 rows written as csv: 45 pairs within 300 (thumb, exact")


def test_a_file_leaves_stdout_to_the_summary(index: Path, tmp_path: Path) -> None:
    path = tmp_path / "pictures.CSV"
    done = run("export", "pictures", "-o", path, index=index)
    assert done.stderr == ""
    assert done.stdout.startswith("63 rows written as csv: 63 pictures of snapshot 1 (")
    rows, summary = json_lines(
        "export", "pictures", "--output", path, "--format", "jsonl", index=index
    )
    assert rows == []
    assert summary["file"] == str(path)
    assert len(lines(path.read_text())) == 63
    assert [each.name for each in tmp_path.iterdir()] == ["pictures.CSV"]


def test_parquet_goes_through_a_pipe_but_not_to_a_terminal(index: Path, tmp_path: Path) -> None:
    words = command("pictures", "--format", "parquet", index=index)
    piped = subprocess.run(words, capture_output=True, env=environment({}), check=True)
    (tmp_path / "piped.parquet").write_bytes(piped.stdout)
    assert len(read(tmp_path / "piped.parquet")) == 63
    ours, terminal = pty.openpty()
    refused = subprocess.run(
        words, stdout=terminal, stderr=subprocess.PIPE, env=environment({}), check=False
    )
    os.close(terminal)
    os.close(ours)
    assert refused.returncode == 2
    assert b"--output" in refused.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk(index: Path) -> None:
    words = ["pictures", "--format", "parquet", "-o", "/dev/full"]
    line = complaint("export", *words, code=1, index=index)
    assert line.startswith("annidx: /dev/full: No space left on device")


def test_a_reader_that_goes_away_is_no_error(index: Path) -> None:
    with subprocess.Popen(
        command("pictures", "--descriptors", "--format", "csv", index=index),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({}),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


SLOW = """
import sys, time
from annidx import cli
from annidx.store import sinks
write = sinks.write
def slow(*words):
    write(*words)
    print("written", flush=True)
    time.sleep(60)
sinks.write = slow
sys.exit(cli.main(sys.argv[1:]))
"""


def test_ctrl_c_leaves_what_was_there(index: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    words = command("pictures", "-o", str(path), index=index)[1:]
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({}),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        assert len(list(tmp_path.iterdir())) == 2
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted" in stderr
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"rows.csv": "old"}


def test_what_cannot_be_written_is_named(index: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "no" / "rows.csv"
    line = complaint("export", "pairs", "-o", nowhere, code=1, index=index)
    assert line == f"annidx: {nowhere}: No such file or directory\n"
    line = complaint("export", "pairs", "-o", tmp_path, code=1, index=index)
    assert line == f"annidx: {tmp_path}: Is a directory\n"
    assert "--output is empty" in complaint("export", "pairs", "-o", "", code=2, index=index)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "WHAT"),
        (["videos"], "'videos'"),
        (["pairs", "--format", "xml"], "'xml'"),
        (["pictures", "--cutoff", "3"], "--cutoff 3"),
        (["pairs", "--failed"], "--failed"),
        (["pictures", "--failed", "--descriptors"], "not allowed with"),
    ],
)
def test_options_without_a_meaning(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", *words])
    assert named in capsys.readouterr().err.splitlines()[-1]


def test_nothing_to_export(unlike: Path, tmp_path: Path) -> None:
    for form in FORMATS:
        path = tmp_path / f"none.{form}"
        export(unlike, "groups", "-o", str(path))
        assert read(path) == []
