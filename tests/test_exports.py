"""annidx.exports: what an export says of the live rows of a snapshot, and of pairs and groups."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annidx import exports
from annidx.descriptors import DESCRIPTORS
from annidx.found import Answer, Group, Groups, Pair, Pairs
from annidx.model import IGNORED, STATUSES, File
from annidx.store import identity, listing, snapshot
from annidx.store.manifest import Kind, Manifest, Root
from annidx.store.segment import Segment
from annidx.store.snapshot import Snapshot
from annidx.store.tables import AT_ONCE, PICTURES, Export
from tests.making import add_segment, failure, record

ANSWER = Answer(
    *("thumb", 300.0, None, True, True, "exact", None, 7, 0.1),  # metric, cutoff, ..., seconds
)


def rows(export: Export) -> list[dict[str, Any]]:
    return [row for batch in export.batches for row in batch.to_pylist()]


@pytest.fixture
def opened(tmp_path: Path) -> Snapshot:
    """Return a snapshot of three segments in two roots, from each of which rows were removed."""
    index = tmp_path / "index"
    identity.create(index)

    def entry(numbers: Sequence[int], kind: Kind, removed: tuple[tuple[int, int], ...]) -> Any:
        make = record if kind == "pictures" else failure
        made = [make(number) for number in numbers]
        if kind == "other":
            statuses = [status for status in STATUSES if status not in ("ok", "truncated")]
            made = [
                replace(each, status=status) for each, status in zip(made, statuses, strict=True)
            ]
        made = [replace(each, file=replace(each.file, root_id=1 + numbers[0] % 2)) for each in made]
        return replace(add_segment(index, made, kind), removed=removed)

    manifest = Manifest(
        number=0,
        created="2026-11-05T03:00:00+00:00",
        roots=(Root(1, b"/"), Root(2, b"/odd")),
        segments=(
            entry(range(1, 8), "pictures", ((0, 2), (6, 1))),
            entry(range(20, 29), "other", ((1, 1),)),
            entry(range(10, 13), "pictures", ((1, 1),)),
        ),
        descriptors={each.name: each.version for each in reversed(DESCRIPTORS.values())},
    )
    return Snapshot(index, snapshot.publish(index, manifest))


def test_pictures_are_the_live_rows_with_absolute_paths(opened: Snapshot) -> None:
    export = exports.pictures(opened)
    found = rows(export)
    assert [row["image_id"] for row in found] == [3, 4, 5, 6, 10, 12]
    assert found[0]["path"] == "/odd/folder/000003.jpg"
    assert found[-1]["path"] == "/folder/000012.jpg"
    assert {row["path_base64"] for row in found} == {None}
    assert export.schema.metadata[b"snapshot"] == b"1"
    assert export.schema.metadata[b"annidx_export"] == b"pictures"
    assert export.schema.names == PICTURES.names


def test_every_fact_is_there(opened: Snapshot) -> None:
    found = rows(exports.pictures(opened))[0]
    expected = record(3)
    assert found["content_hash"] == expected.content_hash.hex()
    assert found["pixel_hash"] == expected.pixel_hash.hex()
    for name in ("size", "mtime_ns", "device", "inode"):
        assert found[name] == getattr(expected.file, name)
    for name in ("status", "format", "width", "height", "orientation", "read_ns", "first_seen_ns"):
        assert found[name] == getattr(expected, name)


def test_batches_are_small_and_no_column_is_kept(
    opened: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that memory does not grow with the pictures."""

    def forbidden(*_: object) -> None:
        raise AssertionError

    expected = rows(exports.pictures(opened, descriptors=True))
    monkeypatch.setattr(listing, "AT_ONCE", 3)
    monkeypatch.setattr(Segment, "column", forbidden)
    batches = list(exports.pictures(opened, descriptors=True).batches)
    assert [len(batch) for batch in batches] == [3, 1, 2]
    assert [row for batch in batches for row in batch.to_pylist()] == expected


def test_descriptors_follow_the_facts_in_the_order_of_the_registry(opened: Snapshot) -> None:
    export = exports.pictures(opened, descriptors=True)
    assert export.schema.names == [*PICTURES.names, *DESCRIPTORS]
    assert b'"thumb": 2' in export.schema.metadata[b"descriptors"]
    for row in rows(export):
        stored = record(row["image_id"]).descriptors
        assert {name: row[name] for name in DESCRIPTORS} == stored


def test_failed_are_the_files_that_could_not_be_read(opened: Snapshot) -> None:
    export = exports.failed(opened)
    found = rows(export)
    statuses = [row["status"] for row in found]
    live = [status for status in STATUSES if status not in ("ok", "truncated", "unreadable")]
    assert statuses == [status for status in live if status not in IGNORED]
    assert {row["error"] for row in found} == {"broken"}
    assert export.schema.names == PICTURES.names


def one_row(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """Return the export of one picture."""
    identity.create(tmp_path / "one")
    entry = add_segment(tmp_path / "one", [record(1, **changes)], "pictures")
    manifest = Manifest(0, "", roots=(Root(1, b"/r"),), segments=(entry,))
    (row,) = rows(exports.pictures(Snapshot(tmp_path / "one", manifest)))
    return row


def test_what_is_unknown_is_null(tmp_path: Path) -> None:
    unknown = {"content_hash": bytes(32), "pixel_hash": bytes(32), "format": "", "width": 0}
    row = one_row(tmp_path, **unknown, height=0, file=File(1, b"a", 0, 0, 0, 0))
    texts = ("error", "taken", "camera", "path_base64", "companions_base64")
    assert {name for name, value in row.items() if value is None} == {
        *(*unknown, "height", "device", "inode", *texts)
    }
    assert (row["size"], row["mtime_ns"], row["companions"]) == (0, 0, [])


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    names = (b"\xff.xmp", b"a\nb,.aae")
    row = one_row(tmp_path, file=File(1, b"s/\xff\n.jpg", 1, 1, 1, 2**64 - 1, names))
    assert row["path"] == "/r/s/\ufffd\n.jpg"
    assert base64.b64decode(row["path_base64"]) == b"/r/s/\xff\n.jpg"
    assert row["companions"] == ["\ufffd.xmp", "a\nb,.aae"]
    assert row["companions_base64"] == [base64.b64encode(b"\xff.xmp").decode(), None]
    assert row["inode"] == 2**64 - 1


def test_pairs() -> None:
    pairs = (
        Pair(b"/\xff", b"/z", 12.5, "thumb", "similar", low_information=True),
        Pair(b"/a", b"/b", 0.0, "thumb", "identical", low_information=False),
    )
    export = exports.of_answer(Pairs(pairs, ANSWER))
    assert export.schema.metadata == {
        b"annidx_export": b"pairs",
        b"snapshot": b"7",
        b"metric": b"thumb",
        b"cutoff": b"300",
    }
    names = export.schema.names
    assert [tuple(row[name] for name in names) for row in rows(export)] == [
        ("/\ufffd", "L/8=", "/z", None, 12.5, "thumb", "similar", True),
        ("/a", None, "/b", None, 0.0, "thumb", "identical", False),
    ]


def test_groups_are_one_row_a_picture() -> None:
    groups = (
        Group(1, "connected", (b"/a", b"/b", b"/c"), (5, 9, 7), 3.5, 2.5, 12, "thumb", (b"/b",)),
        Group(2, "connected", (b"/d", b"/\xff"), (1, 1), 0.0, 0.0, 1, "thumb"),
    )
    export = exports.of_answer(Groups(groups, 0, ANSWER))
    found = [tuple(row.values()) for row in rows(export)]
    first, second = ("connected", "thumb", 3, 3.5, 2.5, 12), ("connected", "thumb", 2, 0.0, 0.0, 1)
    assert found == [
        (1, *first, "/a", None, 5, False),
        (1, *first, "/b", None, 9, True),
        (1, *first, "/c", None, 7, False),
        (2, *second, "/d", None, 1, False),
        (2, *second, "/\ufffd", "L/8=", 1, False),
    ]
    names = ("group", "linkage", "metric", "group_size", "diameter", "weakest", "freed_bytes")
    assert export.schema.names == [*names, "path", "path_base64", "size", "protected"]


def test_more_rows_than_a_batch_holds() -> None:
    pair = Pair(b"/a", b"/b", 0.0, "thumb", "identical", low_information=False)
    batches = exports.of_answer(Pairs((pair,) * (AT_ONCE + 1), ANSWER)).batches
    assert [len(batch) for batch in batches] == [AT_ONCE, 1]
