"""annidx.queries: what is computed of a query, and which questions have an answer."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import annidx
from annidx import Index, Options, building
from annidx.cli import main
from annidx.descriptors import DEFAULT_DESCRIPTORS, DESCRIPTORS, GRAY8, GRAY16, THUMB, chosen
from annidx.errors import PictureUnreadable, UsageError
from annidx.images import decode, extract
from annidx.queries import checked, encoded, joined, needed, read_query
from tests.making import grainy, photo, record, save

HELD = {"thumb": 1, "signature": 1}
SOURCES: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "text": os.fspath,
    "bytes": lambda path: path.read_bytes(),
    "image": lambda _: photo(1),
    "array": lambda _: np.asarray(photo(1)),
}


@pytest.mark.parametrize("how", SOURCES)
@pytest.mark.parametrize("metric", [*DESCRIPTORS, None])
def test_only_what_is_asked_is_computed(tmp_path: Path, metric: str | None, how: str) -> None:
    source = SOURCES[how](save(tmp_path / "a.png", photo(1)))
    found = read_query(source, metric).descriptors
    wanted = {"thumb", metric, *DESCRIPTORS[metric].needs} if metric else set(DEFAULT_DESCRIPTORS)
    assert set(found) == wanted
    everything = extract.picture_record(decode.from_image(photo(1)), tuple(DESCRIPTORS))
    assert found == {name: everything.descriptors[name] for name in found}


def test_an_empty_path() -> None:
    with pytest.raises(PictureUnreadable, match="the path of the query is empty: name a picture"):
        read_query("")


def test_needed() -> None:
    assert needed("thumb") == ("thumb",)
    assert needed("gray16") == ("thumb", "gray16")
    with pytest.raises(UsageError, match="unknown metric 'gray9'"):
        needed("gray9")


@pytest.mark.parametrize("metric", DESCRIPTORS)
def test_checked(metric: str) -> None:
    held = dict.fromkeys(DESCRIPTORS, 1)
    assert checked(metric, None, None, held) == (DESCRIPTORS[metric], DESCRIPTORS[metric].cutoff)
    assert checked(metric, 1e9, 3, held)[1] == DESCRIPTORS[metric].largest
    assert checked(metric, 0, 1, {}) == (DESCRIPTORS[metric], 0.0)  # nothing was built yet


def test_a_metric_that_the_index_does_not_hold() -> None:
    expected = (
        "this index does not hold gray8, it holds thumb, signature: "
        '"annidx build --descriptors thumb,signature,gray8" adds it'
    )
    with pytest.raises(UsageError) as caught:
        checked("gray8", None, None, HELD)
    assert str(caught.value) == expected
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match=r'"annidx build --descriptors thumb,signature,gray16"'):
        checked("signature", None, None, {"gray16": 1, "thumb": 1})


def test_vectors_of_another_version_are_not_compared() -> None:
    with pytest.raises(UsageError, match=r"holds thumb in version 7, this annidx computes version"):
        joined(THUMB, [record(1)], {"thumb": 7})


def test_joined() -> None:
    records = [record(number) for number in (5, 2, 9)]
    stored = joined(GRAY8, records, {**HELD, "gray8": GRAY8.version})
    assert stored.shape == (3, 64)
    assert [row.tobytes() for row in stored] == [each.descriptors["gray8"] for each in records]
    assert joined(GRAY8, [], HELD).shape == (0, 64)


def test_a_record_that_was_read_for_another_metric() -> None:
    read = read_query(np.asarray(photo(1)), "thumb")
    with pytest.raises(UsageError, match="<image> was read without gray16: read it with"):
        joined(GRAY16, [record(1), read], {"gray16": GRAY16.version})


@pytest.mark.parametrize("metric", [GRAY8, GRAY16], ids=lambda metric: metric.name)
def test_gray_vectors_that_a_caller_made(metric: Any) -> None:
    values = np.arange(2 * metric.dimension).reshape(2, -1).astype(np.uint8)
    assert np.array_equal(encoded(metric, values), values)
    expected = rf"expected \(n, {metric.dimension}\) uint8 vectors for {metric.name}, got"
    for wrong in (values[0], values[:, 1:], values.astype(np.int8), values.astype(float)):
        with pytest.raises(UsageError, match=expected):
            encoded(metric, wrong)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["thumb"], ("thumb",)),
        (["gray8", "signature", "thumb", "gray8"], ("thumb", "signature", "gray8")),
        (["fingerprint", "thumb"], ("thumb", "gray64", "fingerprint")),
        (DESCRIPTORS, tuple(DESCRIPTORS)),
    ],
)
def test_what_an_index_is_to_hold(names: Iterable[str], expected: tuple[str, ...]) -> None:
    assert chosen(names) == expected


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "descriptors must include thumb"),
        (["signature", "gray8"], "descriptors must include thumb"),
        (
            ["thumb", "gray9"],
            "unknown descriptor 'gray9': expected some of thumb, signature, gray8",
        ),
        (["thumb", ""], "unknown descriptor ''"),
    ],
)
def test_what_no_index_holds(names: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        chosen(names)


# --- an index with a gray -------------------------------------------------------------------------


def here(
    function: Callable[[Any], Any], batches: Iterable[Sequence[Any]], **_: object
) -> Iterator[Any]:
    for batch in batches:
        yield from map(function, batch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("gray") / "photos"
    for number in range(8):
        save(made / f"{number}.png", photo(number))
        save(made / f"{number} near.png", grainy(photo(number), 50 + number))
    return made


@pytest.fixture(scope="module")
def index(folder: Path) -> Index:
    options = Options(workers=1, descriptors=("thumb", "gray8", "gray20"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "map_items", here)
        building.build([folder], folder.parent / "index", options)
    return annidx.open(folder.parent / "index")


@pytest.mark.parametrize("metric", ["thumb", "gray8", "gray20"])
@pytest.mark.parametrize("exact", [False, True])
def test_every_question_by_a_gray(index: Index, folder: Path, metric: str, exact: bool) -> None:
    found = index.query(folder / "3.png", metric=metric, exact=exact)
    assert [Path(match.path).name for match in found] == ["3 near.png"]
    assert (found.answer.metric, found.answer.cutoff) == (metric, DESCRIPTORS[metric].cutoff)
    assert index.has(photo(5), metric=metric, exact=exact)
    assert not index.has(photo(99), metric=metric, exact=exact)
    assert index.pairs(metric=metric, exact=exact).num_rows == 8
    assert [len(group.raw_paths) for group in index.groups(metric=metric, exact=exact)] == [2] * 8
    assert len(index.neighbours(metric=metric, exact=exact)) == 16
    stored = index.engines.vectors(metric).take(np.arange(1))
    assert index.query_vectors(stored, metric=metric, exact=exact)[0][0].distance == 0.0


@pytest.mark.parametrize("metric", ["signature", "gray16"])
def test_every_question_by_what_the_index_does_not_hold(index: Index, metric: str) -> None:
    wanted = rf"does not hold {metric}, it holds thumb, gray8, gray20: .*--descriptors thumb,"
    for ask in (index.pairs, index.find_pairs, index.groups, index.neighbours):
        with pytest.raises(UsageError, match=wanted):
            ask(metric=metric)
    for asked in (index.query, index.has):
        with pytest.raises(UsageError, match=wanted):
            asked(photo(1), metric=metric)
    with pytest.raises(UsageError, match=wanted):
        index.query_many([], metric=metric)
    with pytest.raises(UsageError, match=wanted):
        index.query_vectors(np.zeros((0, 1), np.uint8), metric=metric)


def test_the_command_line_says_how_to_add_it(
    index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(index.snapshot.index)
    assert main(["pairs", "--metric", "gray20", "--index", where, "--quiet"]) == 0
    assert main(["pairs", "--metric", "gray16", "--index", where]) == UsageError.exit_code == 2
    said = capsys.readouterr().err
    assert '"annidx build --descriptors thumb,gray8,gray16,gray20" adds it' in said


def test_a_record_is_asked_by_what_it_was_read_for(index: Index) -> None:
    handle = io.BytesIO()
    photo(4).save(handle, "PNG")
    record_of_it = read_query(handle.getvalue(), "gray8")
    assert index.query(record_of_it, metric="gray8").matches
    with pytest.raises(UsageError, match="was read without gray20"):
        index.query(record_of_it, metric="gray20")
