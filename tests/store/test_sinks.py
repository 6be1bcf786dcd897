"""annidx.store.sinks: the same rows in three formats, whatever is in them, or no whole file."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annidx.store import sinks
from annidx.store.sinks import Format
from annidx.store.tables import Export, export_rows

HOSTILE = (
    *("a,b", '"', '""', "'", "a\nb", "a\r\nb", "\r", "\t", "\x1b[2J", "\u202egpj.x", "日本 é"),
    *("=cmd()", "+1", "-1", "@x", "\ufffd", "\\", "", " ", "null", "\x00"),
)
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("text_base64", pa.string()),
        ("number", pa.int64()),
        ("share", pa.float64()),
        ("yes", pa.bool_()),
        ("names", pa.list_(pa.string())),
        ("code", pa.binary(3)),
    ],
    {"snapshot": "7"},
)
ROWS: list[dict[str, Any]] = [
    {
        "text": text,
        "text_base64": "QQ==" if at % 2 else None,
        "number": 2**62 + at,
        "share": 1 / (at + 3),
        "yes": at % 3 == 0,
        "names": [text, "b"] if at % 4 else [],
        "code": bytes([at, 255, 0]),
    }
    for at, text in enumerate(HOSTILE)
] + [dict.fromkeys(SCHEMA.names)]


def written(form: Format, rows: list[dict[str, Any]] = ROWS) -> bytes:
    handle = io.BytesIO()
    export = export_rows(SCHEMA, rows, {"snapshot": "7"})
    assert sinks.write(export, handle, form) == len(rows)
    assert not handle.closed
    return handle.getvalue()


def test_parquet() -> None:
    table = pq.read_table(io.BytesIO(written("parquet")))
    assert table.to_pylist() == ROWS
    assert table.schema.metadata == {b"snapshot": b"7"}
    assert table.schema == SCHEMA


def test_json_lines() -> None:
    lines = written("jsonl").decode().removesuffix("\n").split("\n")
    found = [json.loads(line) for line in lines]
    for row, expected in zip(found, ROWS, strict=True):
        assert ("text_base64" in row) == (expected["text_base64"] is not None)
        if expected["code"]:
            row["code"] = base64.b64decode(row["code"])
        assert {**dict.fromkeys(SCHEMA.names), **row} == expected
    assert "日本 é" in lines[10]


def test_csv() -> None:
    text = written("csv").decode()
    head, *found = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert head == SCHEMA.names
    for row, expected in zip(found, ROWS, strict=True):
        whole = dict(zip(head, row, strict=True))
        assert whole["text"] == (expected["text"] or "")
        assert whole["text_base64"] == (expected["text_base64"] or "")
        if expected["number"] is not None:
            assert int(whole["number"]) == expected["number"]
            assert float(whole["share"]) == expected["share"]
            assert whole["yes"] == str(expected["yes"]).lower()
            assert json.loads(whole["names"]) == expected["names"]
            assert base64.b64decode(whole["code"]) == expected["code"]


def test_csv_tells_null_from_empty() -> None:
    rows = [dict.fromkeys(SCHEMA.names), {**dict.fromkeys(SCHEMA.names), "text": ""}]
    assert written("csv", rows).decode().splitlines()[1:] == [",,,,,,", '"",,,,,,']


@pytest.mark.parametrize("form", get_args(Format))
def test_no_rows(form: Format) -> None:
    data = written(form, [])
    if form == "parquet":
        assert pq.read_table(io.BytesIO(data)).schema == SCHEMA
    else:
        assert data == (b"" if form == "jsonl" else written("csv").split(b"\n", 1)[0] + b"\n")


@pytest.mark.parametrize("form", get_args(Format))
def test_batches_are_asked_for_one_by_one(form: Format) -> None:
    """Memory holds one of them, however many there are."""
    handle = io.BytesIO()
    sizes = []

    def batches() -> Iterator[pa.RecordBatch]:
        for _ in range(4):
            sizes.append(len(handle.getvalue()))
            yield pa.RecordBatch.from_pylist(ROWS, SCHEMA)

    assert sinks.write(Export(SCHEMA, batches()), handle, form) == 4 * len(ROWS)
    assert sizes == sorted(set(sizes))


class Narrow(io.BytesIO):
    """A disk that is full after some bytes; a pipe cannot tell where it is either."""

    def __init__(self, room: int, error: BaseException) -> None:
        super().__init__()
        self.room, self.error, self.complaints = room, error, 0

    def write(self, data: Any) -> int:
        if self.tell_truly() + len(data) > self.room:
            self.complaints += 1
            raise self.error
        return super().write(data)

    def tell_truly(self) -> int:
        return super().tell()

    def tell(self) -> int:
        raise AssertionError


@pytest.mark.parametrize(
    "error", [OSError(28, "full"), BrokenPipeError(32, "gone"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("form", get_args(Format))
def test_a_handle_that_fails_is_written_to_no_more(form: Format, error: BaseException) -> None:
    whole = len(written(form))
    for room in (0, whole // 2, whole - 1):
        handle = Narrow(room, error)
        with pytest.raises(type(error)) as raised:
            sinks.write(export_rows(SCHEMA, ROWS, {"snapshot": "7"}), handle, form)
        assert getattr(raised.value, "errno", None) == getattr(error, "errno", None)
        assert handle.complaints == 1


def test_what_breaks_off_does_not_look_whole() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist(ROWS, SCHEMA)
        message = "damaged"
        raise ValueError(message)

    handle = io.BytesIO()
    with pytest.raises(ValueError, match="damaged"):
        sinks.write(Export(SCHEMA, batches()), handle, "parquet")
    with pytest.raises(pa.ArrowInvalid):
        pq.read_table(io.BytesIO(handle.getvalue()))
