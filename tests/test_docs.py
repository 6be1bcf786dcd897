"""docs/parquet.md and the README: their tables are the schemas, their examples give the answers."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import annidx
from annidx import Index, Options, exports
from annidx.descriptors import DESCRIPTORS
from annidx.store import segment, sinks, tables
from annidx.store.tables import Export
from tests.making import aged, grainy, photo, save

REPOSITORY = Path(__file__).parents[1]
CAMERA = "Canon EOS 5D"
ODD = [b'it\'s, a "name"\n.jpg', b"\xff\xfe.jpg", "\u202egpj.x.jpg".encode()]

Row = tuple[Any, ...]


def sections(name: str) -> dict[str, str]:
    """Return the text below each heading of a page."""
    page = (REPOSITORY / name).read_text(encoding="utf-8")
    parts = re.split(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```$", _hide, page))
    return {
        heading: text.replace("\0", "#")
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def _hide(block: re.Match[str]) -> str:
    return block[0].replace("#", "\0")  # a comment in it is no heading


PAGE = sections("docs/parquet.md")


def listed(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head and without backticks."""
    lines = re.findall(r"(?m)^\| (.*) \|$", PAGE[heading])
    return [[cell.strip(" `") for cell in line.split("|")] for line in lines[1:]]


def code(heading: str, page: dict[str, str] = PAGE) -> list[str]:
    """Return the examples below a heading, shell lines left out."""
    return re.findall(r"(?ms)^```(?:sql|python)\n(.*?)^```$", page[heading])


def columns(schema: pa.Schema) -> list[list[str]]:
    """Return the names and types of columns as the tables give them."""
    return [[each.name, re.sub(r"<\w+: ", "<", str(each.type))] for each in schema]


@pytest.mark.parametrize(
    ("heading", "schema"),
    [
        ("Columns of pictures", tables.PICTURES),
        ("Columns of pairs", tables.PAIRS),
        ("Columns of groups", tables.GROUPS),
        ("Columns of segments", segment.schema("other", ())),
    ],
)
def test_tables_of_columns_are_the_schemas(heading: str, schema: pa.Schema) -> None:
    rows = listed(heading)
    assert [row[:2] for row in rows] == columns(schema)
    assert all(row[-1] for row in rows)


def test_the_table_of_descriptors_is_the_schema() -> None:
    rows = listed("Descriptors")
    facts = len(segment.schema("other", ()))
    assert [row[:2] for row in rows] == columns(segment.schema("pictures", DESCRIPTORS))[facts:]
    assert [row[2] for row in rows] == [str(each.version) for each in DESCRIPTORS.values()]


def export(what: Export, path: Path) -> None:
    with path.open("wb") as handle:
        sinks.write(what, handle, "parquet")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an archive, its index, from which rows were removed, and exports."""
    folder = tmp_path_factory.mktemp("docs").resolve()
    archive, index = folder / "photos", folder / "photos.annidx"
    for number in range(20):
        exif = photo(0).getexif()
        exif[0x010F], exif[0x0110] = "Canon", CAMERA if number % 3 else "Canon PowerShot"
        path = archive / str(2019 + number % 2) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(number).save(path, exif=exif, quality=95)
        if number < len(ODD):
            path.rename(path.parent / os.fsdecode(ODD[number]))
    for name in ("2019/4.jpg", "2019/6.jpg", "2020/5.jpg", "2020/7.jpg"):
        (archive / "it's a copy").mkdir(exist_ok=True)
        shutil.copy(archive / name, archive / "it's a copy")
    save(archive / "2020" / "4 again.png", grainy(photo(4), 1))
    for root, _, names in os.walk(archive):
        for name in names:
            aged(Path(root, name))
    annidx.build(archive, index=index, options=Options(workers=2))
    for gone in ("2019/8.jpg", "it's a copy/7.jpg"):
        (archive / gone).unlink()
    save(archive / "2020" / "new.jpg", photo(99))
    save(archive / "2018" / "4 first.png", grainy(photo(4), 2))  # the last row, the first path
    annidx.build(index=index, options=Options(workers=2))
    opened = annidx.open(index)
    export(exports.pictures(opened.snapshot), folder / "pictures.parquet")
    export(exports.pictures(opened.snapshot, descriptors=True), folder / "vectors.parquet")
    export(exports.of_answer(opened.groups()), folder / "groups.parquet")
    return folder


@pytest.fixture
def opened(place: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    monkeypatch.chdir(place)
    return annidx.open("photos.annidx")


def ran(*blocks: str) -> dict[str, Any]:
    """Return the names after Python examples, and what they printed as 'printed'."""
    names: dict[str, Any] = {"__name__": "example"}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for block in blocks:
            exec(compile(block, "example", "exec"), names)
    return {**names, "printed": printed.getvalue()}


def by_folder(duplicates: Iterable[tuple[bytes, int]]) -> list[Row]:
    """Return (folder, files, bytes) of some files, most bytes first."""
    count, size = Counter[str](), Counter[str]()
    for path, of_file in duplicates:
        folder = os.fsdecode(os.path.dirname(path))  # noqa: PTH120 - bytes
        count[folder] += 1
        size[folder] += of_file
    rows = [(folder, count[folder], size[folder]) for folder in size]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def duplicates(index: Index) -> list[Row]:
    """Return what all members of groups take but the largest of each, by folder."""
    groups = [
        sorted(
            ((path, Path(os.fsdecode(path)).stat().st_size) for path in group.raw_paths),
            key=lambda each: (-each[1], each[0]),
        )
        for group in index.groups()
    ]
    found = by_folder(each for group in groups for each in group[1:])
    assert len(found) >= 2
    return found


def of_camera(index: Index) -> list[str]:
    """Return the paths of the pictures of the camera, sorted, as exports name them."""
    rows = index.snapshot.pictures
    live = rows.live.nonzero()[0]
    cameras = rows.values("camera", live)
    paths = index.snapshot.paths(live)
    found = [path for path, each in zip(paths, cameras, strict=True) if each == CAMERA]
    assert 10 <= len(found) < len(index)
    return sorted(path.decode(errors="replace") for path in found)


def test_duckdb_on_exports(opened: Index) -> None:
    folders, pictures = (duckdb.connect().sql(query).fetchall() for query in code("DuckDB"))
    assert folders == duplicates(opened)
    assert [row[0] for row in pictures] == of_camera(opened)


def test_polars_on_exports(opened: Index) -> None:
    folders, pictures = code("Polars")
    found = ran(folders)["by_folder"]
    assert found.columns == ["folder", "duplicates", "bytes"]
    assert found.rows() == duplicates(opened)
    assert ran(pictures)["of_camera"]["path"].to_list() == of_camera(opened)


def test_the_example_of_the_readme(opened: Index) -> None:
    (query,) = code("Other tools", sections("README.md"))
    assert duckdb.connect().sql(query).fetchall() == duplicates(opened)


def test_segments_with_duckdb(opened: Index, place: Path) -> None:
    """The manifest is needed: without it removed rows are counted."""
    names = ran(*code("The segments"), *code("DuckDB, directly"))
    seen: set[bytes] = set()
    copies = []
    for path in sorted((place / "photos").rglob("*.*g")):
        digest = hashlib.sha256(path.read_bytes()).digest()
        if digest in seen:
            copies.append((os.fsencode(path), path.stat().st_size))
        seen.add(digest)
    assert len(copies) == 3
    assert names["copies"].fetchall() == by_folder(copies)
    count = "SELECT count(*) FROM "
    [(live,)] = names["db"].sql(f"{count} pictures").fetchall()
    blindly = f"{count} read_parquet('photos.annidx/segments/*.parquet', union_by_name = true)"
    [(rows,)] = names["db"].sql(blindly).fetchall()
    assert live == len(opened) < rows


def test_segments_with_polars(opened: Index, place: Path) -> None:
    names = ran(*code("The segments"), *code("Polars, directly"))
    expected = sorted(path.removeprefix(f"{place}/photos/") for path in of_camera(opened))
    found = names["found"]["path"].to_list()
    assert sorted(path.decode(errors="replace") for path in found) == expected
    assert names["printed"].startswith(f"{place}/photos/")


def test_a_torn_manifest_is_passed_over(opened: Index, place: Path) -> None:
    torn = place / "photos.annidx" / "snapshots" / "00000077.json"
    newest = max(torn.parent.iterdir())
    for wrong in (newest.read_bytes()[:-100], newest.read_bytes().replace(b"online", b"0nline")):
        torn.write_bytes(wrong)
        try:
            manifest = ran(*code("The segments"))["manifest"]
            assert manifest["number"] == opened.manifest.number == 2
            assert manifest["roots"][0]["status"] == "online"
        finally:
            torn.unlink()


def test_the_manifest_has_what_is_said_of_it(opened: Index, place: Path) -> None:
    manifest = json.loads(max((place / "photos.annidx" / "snapshots").iterdir()).read_bytes())
    for cell, *_ in listed("The segments"):
        owner = manifest
        for name in re.findall(r"[\w\[\]]+", cell):
            if name.startswith(("segments[]", "roots[]")):
                owner = manifest[name.removesuffix("[]")][0]
            else:
                assert name in owner
    assert any(each["removed"] for each in manifest["segments"])


@pytest.mark.parametrize("metric", ["thumb", "signature"])
def test_distances_follow_from_the_bytes(opened: Index, metric: str) -> None:
    names = ran(*code("Descriptors"))
    at = ["thumb", "signature"].index(metric)
    found = opened.find_pairs(metric=metric, cutoff=1e9)
    assert len(found) == len(opened) * (len(opened) - 1) // 2
    for pair in found:
        x, y = (
            names["vectors"][path.decode(errors="replace")][at] for path in (pair.raw_a, pair.raw_b)
        )
        assert names[f"{metric}_distance"](x, y) == pytest.approx(pair.distance)
