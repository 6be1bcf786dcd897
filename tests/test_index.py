"""annidx.index: one index of real little pictures, and every question that can be asked of it."""

from __future__ import annotations

import io
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, PngImagePlugin

import annidx
from annidx import Index, Matches, Options, building
from annidx.descriptors import DESCRIPTORS, SIGNATURE, THUMB
from annidx.errors import FolderNotFound, PictureUnreadable, UsageError
from annidx.queries import read_query
from annidx.search import planner
from annidx.search.exact import Hits
from annidx.store import files
from tests.making import LONG_AGO_NS, aged, grainy, photo, save

SINGLE = 12
FLAT = 10


def flat(level: int) -> Image.Image:
    return Image.new("RGB", (64, 48), (level, 120, 130))


def make(folder: Path) -> None:
    """Make an archive: a picture in five forms, single ones, flat ones."""
    save(folder / "a.png", photo(1))
    shutil.copy2(folder / "a.png", folder / "a copy.png")
    tagged = PngImagePlugin.PngInfo()
    tagged.add_text("Comment", "five stars")
    photo(1).save(folder / "a tagged.png", pnginfo=tagged)
    photo(1).save(folder / "a.jpg", quality=90)
    save(folder / "a near.png", grainy(photo(1), 3))
    for number in range(SINGLE):
        save(folder / "single" / f"{number}.png", photo(100 + number))
    for number in range(FLAT):
        save(folder / "flat" / f"{number}.png", flat(100 + number))
    shutil.copy2(folder / "flat" / "3.png", folder / "flat" / "3 copy.png")
    for path in folder.rglob("*.*g"):
        aged(path, LONG_AGO_NS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("index") / "photos"
    (made / "single").mkdir(parents=True)
    make(made)
    return made.resolve()


@pytest.fixture(scope="module")
def index(folder: Path) -> Index:
    options = Options(workers=2, graph_metrics=["thumb"])
    annidx.build(folder, index=folder.parent / "index", options=options)
    return annidx.open(folder.parent / "index")


def names(found: Iterable[annidx.Match]) -> list[str]:
    return [Path(match.path).name for match in found]


A_FORMS = ["a copy.png", "a tagged.png", "a.png", "a near.png", "a.jpg"]


def image_of(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def in_bytes(image: Image.Image) -> bytes:
    handle = io.BytesIO()
    image.save(handle, "PNG")
    return handle.getvalue()


# --- what a query is ----------------------------------------------------------------------------


def test_an_index_says_what_it_is(index: Index) -> None:
    assert len(index) == index.pictures == 5 + SINGLE + FLAT + 1
    assert "28 pictures, snapshot 1" in repr(index)
    assert index.manifest.number == 1


def test_by_path(index: Index, folder: Path) -> None:
    found = index.query(folder / "a.png", k=None)
    assert found.query == str(folder / "a.png")
    assert sorted(names(found)) == sorted(set(A_FORMS) - {"a.png"})
    assert [match.distance for match in found][:2] == [0.0, 0.0]
    assert [match.kind for match in found][:2] == ["identical", "same-pixels"]
    assert {match.kind for match in found[2:]} == {"edited"}
    first = found[0]
    assert (first.path, first.metric, first.transform) == (
        *(str(folder / "a copy.png"), "fingerprint", "none"),
    )
    assert (first.score, first.chance, first.extrapolated) == (1.0, 0.0, False)
    assert first.explanation is not None
    assert first.explanation.words == "identical bytes"
    assert (first.width, first.height, first.format) == (64, 48, "PNG")
    assert first.size == (folder / "a copy.png").stat().st_size
    assert not first.low_information
    order = [(match.chance, match.raw_path) for match in found]
    assert order == sorted(order)
    answer = found.answer
    assert (answer.metric, answer.cutoff, answer.chance) == ("fingerprint", 1.0, 1.0)
    assert (answer.k, answer.snapshot) == (None, 1)
    assert (answer.engine, answer.exact, answer.complete, answer.recall) == (
        *("exact", True, True, None),
    )


def test_by_thumb(index: Index, folder: Path) -> None:
    found = index.query(folder / "a.png", k=None, metric="thumb")
    assert sorted(names(found)) == sorted(set(A_FORMS) - {"a.png"})
    assert [match.distance for match in found][:2] == [0.0, 0.0]
    assert [match.kind for match in found][:2] == ["identical", "same-pixels"]
    assert {match.kind for match in found[2:]} == {"similar"}
    assert {match.metric for match in found} == {"thumb"}
    nothing = {(match.score, match.chance, match.explanation) for match in found}
    assert nothing == {(None, None, None)}
    answer = found.answer
    assert (answer.metric, answer.cutoff, answer.chance) == ("thumb", 300.0, None)
    assert (answer.engine, answer.exact, answer.complete, answer.recall) == (
        *("graph", False, True, 1.0),
    )


@pytest.mark.parametrize("how", [str, lambda path: path, lambda path: f"~/{path.name}"])
def test_paths_in_several_spellings(
    index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch, how: Callable[[Path], Any]
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert len(index.query(how(folder / "a.png"))) == 4


@pytest.mark.parametrize(
    "form",
    [
        lambda path: path.read_bytes(),
        lambda path: bytearray(path.read_bytes()),
        lambda path: memoryview(path.read_bytes()),
        image_of,
        lambda path: np.asarray(image_of(path)),
        lambda path: read_query(path.read_bytes()),
    ],
    ids=["bytes", "bytearray", "memoryview", "image", "array", "record"],
)
def test_pictures_that_have_no_file(
    index: Index, folder: Path, form: Callable[[Path], Any]
) -> None:
    """The one in the archive is then a neighbour like the others."""
    found = index.query(form(folder / "a.png"), k=None)
    assert sorted(names(found)) == sorted(A_FORMS)
    assert found.query == "<image>"
    has_bytes = not isinstance(form(folder / "a.png"), Image.Image | np.ndarray)
    by_thumb = index.query(form(folder / "a.png"), k=None, metric="thumb")
    assert sorted(names(by_thumb)) == sorted(A_FORMS)
    for matches, otherwise in ((found, "edited"), (by_thumb, "similar")):
        kinds = {Path(match.path).name: match.kind for match in matches}
        assert kinds["a.png"] == ("identical" if has_bytes else otherwise)
        assert kinds["a tagged.png"] == ("same-pixels" if has_bytes else otherwise)


def test_a_picture_that_is_not_in_the_archive(index: Index, tmp_path: Path) -> None:
    save(tmp_path / "elsewhere.png", grainy(photo(100), 9))
    found = index.query(tmp_path / "elsewhere.png")
    assert names(found) == ["0.png"]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("metric", ["thumb", "signature", "fingerprint"])
def test_nothing_near_is_an_answer(index: Index, metric: str, exact: bool) -> None:
    found = index.query(photo(999), metric=metric, exact=exact)
    assert list(found) == []
    assert found.answer.complete


@pytest.mark.parametrize("link", ["symlink", "hard link", "folder"])
def test_a_picture_is_not_its_own_neighbour(
    index: Index, folder: Path, tmp_path: Path, link: str
) -> None:
    path = tmp_path / "link.png"
    if link == "symlink":
        path.symlink_to(folder / "a.png")
    elif link == "hard link":
        os.link(folder / "a.png", path)
    else:
        (tmp_path / "folder").symlink_to(folder)
        path = tmp_path / "folder" / "single" / ".." / "a.png"
    assert sorted(names(index.query(path))) == sorted(set(A_FORMS) - {"a.png"})


def test_a_file_that_was_changed_since_is_still_itself(
    index: Index, folder: Path, tmp_path: Path
) -> None:
    path = folder / "single" / "5.png"
    shutil.copy2(path, tmp_path / "saved.png")
    try:
        path.write_bytes(in_bytes(grainy(photo(105), 1)))
        assert names(index.query(path)) == []
    finally:
        shutil.copy2(tmp_path / "saved.png", path)


@pytest.mark.parametrize("source", ["missing.png", "", "single"])
def test_paths_that_are_no_pictures(index: Index, folder: Path, source: str) -> None:
    with pytest.raises(PictureUnreadable):
        index.query(folder / source)


@pytest.mark.parametrize("source", [b"", b"garbage", np.zeros((0, 4), np.uint8), None, 5])
def test_what_is_no_picture(index: Index, source: Any) -> None:
    with pytest.raises(PictureUnreadable):
        index.query(source)


# --- k, cutoff, engine --------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one(index: Index, k: int) -> None:
    with pytest.raises(UsageError, match=f"k is {k}, expected 1 or more"):
        index.query(photo(1), k=k)
    with pytest.raises(UsageError):
        index.query_vectors(np.zeros((1, 1200), np.uint8), k=k)
    with pytest.raises(UsageError):
        index.neighbours(k=k)


@pytest.mark.parametrize("cutoff", [-1.0, -1e-9, float("nan"), float("-inf")])
def test_cutoffs_without_a_meaning(index: Index, cutoff: float) -> None:
    for ask in (index.pairs, index.groups, index.neighbours, index.find_pairs):
        with pytest.raises(UsageError, match="expected a distance of 0 or more"):
            ask(cutoff=cutoff)
    for asked in (index.query, index.has):
        with pytest.raises(UsageError):
            asked(photo(1), cutoff=cutoff)


def test_unknown_metrics(index: Index) -> None:
    with pytest.raises(UsageError, match="unknown metric 'nonsense': expected one of thumb, sig"):
        index.query(photo(1), metric="nonsense")
    with pytest.raises(ValueError, match="unknown metric"):  # for callers who do not know annidx
        index.pairs(metric="nonsense")


def test_unknown_linkages(index: Index) -> None:
    expected = "linkage is 'average', expected one of 'connected', 'complete', 'star'"
    with pytest.raises(UsageError, match=expected):
        index.groups(linkage="average")  # type: ignore[arg-type]


def test_an_index_without_signatures_confirms_nothing(folder: Path) -> None:
    place = folder.parent / "thumbs only"
    annidx.build(folder, index=place, options=Options(workers=1, descriptors=["thumb"]))
    groups = annidx.open(place).groups()
    assert groups.unconfirmed == 0
    assert [group.paths for group in groups] == [
        group.paths for group in annidx.open(place).groups(unconfirmed=True)
    ]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("k", "found", "complete"), [(1, 1, False), (3, 3, False), (4, 4, True), (5, 4, True)]
)
def test_k_counts_pictures_without_itself(
    index: Index, folder: Path, exact: bool, k: int, found: int, complete: bool
) -> None:
    answer = index.query(folder / "a.png", k=k, exact=exact)
    assert (len(answer), answer.answer.complete, answer.answer.k) == (found, complete, k)
    whole = index.query(folder / "a.png", k=None)
    assert list(answer) == list(whole)[:k]
    # The same picture without its file finds one more: its own.
    without = index.query(image_of(folder / "a.png"), k=k + 1, exact=exact)
    assert (len(without), without.answer.complete) == (found + 1, complete)


def test_ties_at_k_are_broken_by_path(index: Index, folder: Path) -> None:
    image = image_of(folder / "a.png")  # three pictures lie at distance 0
    for k in (1, 2, 3):
        assert names(index.query(image, k=k)) == ["a copy.png", "a tagged.png", "a.png"][:k]


@pytest.mark.parametrize("metric", ["thumb", "fingerprint"])
def test_the_cutoff_is_inclusive(index: Index, folder: Path, metric: str) -> None:
    def within(cutoff: float | None) -> list[annidx.Match]:
        return list(index.query(folder / "a.png", metric=metric, cutoff=cutoff))

    furthest = max(within(None), key=lambda match: match.distance)
    assert furthest.distance > 0
    assert furthest in within(furthest.distance)
    assert furthest not in within(np.nextafter(furthest.distance, 0))


@pytest.mark.parametrize("metric", ["thumb", "signature"])
def test_a_cutoff_beyond_everything_finds_everything(
    index: Index, folder: Path, metric: str
) -> None:
    found = index.query(folder / "a.png", k=None, cutoff=float("inf"), metric=metric)
    assert len(found) == len(index) - 1
    assert found.answer.cutoff == DESCRIPTORS[metric].largest  # JSON has no infinity
    assert found.answer.complete
    assert sorted(found, key=lambda each: (each.distance, each.raw_path)) == list(found)


def test_both_engines_agree(index: Index, folder: Path) -> None:
    for path in sorted(folder.rglob("*.png")):
        for cutoff in (0.0, 300.0, 3000.0):
            fast, sure = (index.query(path, cutoff=cutoff, exact=exact) for exact in (False, True))
            assert list(fast) == list(sure)
            assert (sure.answer.engine, sure.answer.exact, sure.answer.recall) == (
                *("exact", True, None),
            )


def test_a_metric_without_a_graph_is_answered_exactly(index: Index, folder: Path) -> None:
    found = index.query(folder / "a.png", metric="signature")
    assert (found.answer.engine, found.answer.cutoff) == ("exact", 0.3)
    assert sorted(names(found)) == sorted(set(A_FORMS) - {"a.png"})


def test_several_at_once(index: Index, folder: Path) -> None:
    sources = [folder / "a.png", photo(999), folder / "single" / "0.png", in_bytes(photo(1))]
    together = index.query_many(sources)
    assert [list(each) for each in together] == [list(index.query(each)) for each in sources]
    for metric in ("thumb", "signature"):
        assert index.query_many([], metric=metric) == []


# --- vectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [THUMB, SIGNATURE], ids=lambda metric: metric.name)
def test_vectors_that_were_computed_elsewhere(index: Index, folder: Path, metric: Any) -> None:
    rows = index.snapshot.pictures
    everything = np.arange(len(rows))
    paths = index.snapshot.paths(everything)
    row = paths.index(os.fsencode(folder / "a.png"))
    stored = index.engines.vectors(metric.name).take(np.array([row]))
    levels = {0b1100: -2, 0b0100: -1, 0b0000: 0, 0b0010: 1, 0b0011: 2}
    values = stored
    if metric is SIGNATURE:
        halves = np.stack([stored >> 4, stored & 15], axis=2).reshape(1, -1)
        values = np.vectorize(levels.__getitem__)(halves).astype(np.int8)
    (found,) = index.query_vectors(values, metric=metric.name)
    assert sorted(names(found)) == sorted(A_FORMS)
    assert found.query == "<vector 0>"
    assert {match.kind for match in found} == {"similar"}
    assert index.query_vectors(values[:0], metric=metric.name) == []


@pytest.mark.parametrize(
    ("vectors", "metric"),
    [
        (np.zeros(1200, np.uint8), "thumb"),
        (np.zeros((1, 1199), np.uint8), "thumb"),
        (np.zeros((1, 1200), np.int16), "thumb"),
        (np.zeros((1, 1200), np.float32), "thumb"),
        (np.zeros((1, 1, 1200), np.uint8), "thumb"),
        (np.zeros((1, 272), np.uint8), "signature"),
        (np.zeros((1, 136), np.int8), "signature"),
        (np.full((1, 272), 3, np.int8), "signature"),
        (np.full((1, 272), -3, np.int8), "signature"),
        ("text", "thumb"),
    ],
)
def test_vectors_that_are_none(index: Index, vectors: Any, metric: str) -> None:
    with pytest.raises(UsageError):
        index.query_vectors(vectors, metric=metric)


# --- do I have this picture? ----------------------------------------------------------------------


def test_has(index: Index, folder: Path) -> None:
    found = index.has(folder / "a.png")
    assert names(found) == ["a copy.png"]
    assert found.nearest == found[0]


@pytest.mark.parametrize(("metric", "cutoff"), [("fingerprint", 1.0), ("thumb", 300.0)])
def test_has_not_but_something_else(index: Index, metric: str, cutoff: float) -> None:
    found = index.has(photo(999), metric=metric)
    assert list(found) == []
    assert found.nearest is not None
    assert found.nearest.distance > 300  # a second look tells of matches only: it is a thumb's
    everything = index.query(photo(999), k=None, cutoff=float("inf"), exact=True, metric="thumb")
    assert found.nearest == everything[0]
    assert (found.answer.metric, found.answer.cutoff) == (metric, cutoff)


def test_has_with_a_metric_without_a_graph(index: Index, folder: Path) -> None:
    found = index.has(grainy(photo(104), 2), metric="signature")
    assert names(found) == ["4.png"]


# --- the whole set --------------------------------------------------------------------------------


def test_pairs(index: Index) -> None:
    table = index.pairs(cutoff=300)
    assert isinstance(table, pa.Table)
    assert table.column_names == ["a", "b", "distance", "kind"]
    rows = [(row["distance"], row["a"], row["b"]) for row in table.to_pylist()]
    assert rows == sorted(rows)
    assert all(a < b for _, a, b in rows)
    assert len(set(rows)) == len(rows)
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert facts == {"metric": "thumb", "cutoff": "300.0", "complete": "true", "snapshot": "1"}
    photos = [row for row in table.to_pylist() if "/flat/" not in row["a"]]
    assert len(photos) == 10  # five forms of one picture
    assert [row["kind"] for row in photos[:3]] == ["same-pixels", "identical", "same-pixels"]


@pytest.mark.parametrize("metric", ["thumb", "signature"])
def test_pairs_compared_one_by_one_are_the_same(index: Index, metric: str) -> None:
    quick, slow = (index.find_pairs(metric=metric, exact=exact) for exact in (False, True))
    assert list(quick) == list(slow)
    assert quick.answer.engine == "exact"
    assert quick.answer.complete


@pytest.mark.parametrize("metric", ["thumb", "signature"])
def test_pairs_neighbours_and_queries_agree(index: Index, metric: str) -> None:
    found = index.find_pairs(metric=metric)
    listed = {(pair.a, pair.b, pair.distance, pair.kind) for pair in found}
    near = index.neighbours(k=None, metric=metric)
    for matches in near:
        own = index.query(matches.query, k=None, metric=metric)
        assert list(matches) == list(own)
    seen = {
        (*sorted([matches.query, match.path]), match.distance, match.kind)
        for matches in near
        for match in matches
    }
    assert seen == listed
    assert [matches.query for matches in near] == sorted(matches.query for matches in near)


def test_neighbours_are_cut_at_k(index: Index, folder: Path) -> None:
    near = index.neighbours(k=2)
    assert not near.answer.complete
    by_name = {matches.query: matches for matches in near}
    assert names(by_name[str(folder / "a.png")]) == ["a copy.png", "a tagged.png"]
    assert not by_name[str(folder / "a.png")].answer.complete
    assert max(len(matches) for matches in near) == 2
    assert index.neighbours(k=20).answer.complete


def test_nothing_near_in_the_whole_set(index: Index, folder: Path) -> None:
    """At 0 there are copies; so this asks an index that has none."""
    place = folder.parent / "single index"
    annidx.build(folder / "single", index=place, options=Options(workers=1))
    single = annidx.open(place)
    assert single.pairs().num_rows == 0
    assert list(single.find_pairs()) == []
    assert list(single.groups()) == []
    assert list(single.neighbours()) == []
    assert single.groups().low_information == 0
    assert single.neighbours().answer.complete


def test_too_many_pairs_are_refused_beforehand(index: Index) -> None:
    for ask in (index.pairs, index.groups, index.neighbours):
        with pytest.raises(UsageError, match=r"about 378 pairs .* the limit of 100\b"):
            ask(cutoff=1e9, max_pairs=100)
        with pytest.raises(UsageError, match="max_pairs is -1, expected 0 or more"):
            ask(max_pairs=-1)
    assert index.pairs(cutoff=1e9, max_pairs=378).num_rows == 28 * 27 // 2


# --- pictures with next to no information ---------------------------------------------------------


@pytest.mark.parametrize("metric", ["thumb", "signature"])
def test_flat_pictures_make_no_group_unless_they_are_copies(index: Index, metric: str) -> None:
    groups = index.groups(metric=metric)
    assert [[Path(path).name for path in group.paths] for group in groups] == [
        sorted(A_FORMS),
        ["3 copy.png", "3.png"],
    ]
    assert groups.low_information == FLAT + 1
    assert [group.number for group in groups] == [1, 2]


@pytest.mark.parametrize("metric", ["thumb", "fingerprint"])
def test_the_figures_of_a_group(index: Index, folder: Path, metric: str) -> None:
    first, second = index.groups(metric=metric)
    sizes = [Path(path).stat().st_size for path in first.paths]
    assert first.freed_bytes == sum(sizes) - max(sizes)
    found = index.find_pairs(metric=metric)
    pairs = [each for each in found if {each.a, each.b} <= set(first.paths)]
    assert first.diameter == max(pair.distance for pair in pairs)
    assert 0 < first.weakest <= first.diameter
    assert (second.weakest, second.diameter) == (0.0, 0.0)
    assert (first.linkage, first.metric) == ("connected", metric)


def test_flat_pictures_are_marked(index: Index, folder: Path) -> None:
    found = index.query(folder / "flat" / "0.png", k=None, metric="thumb")
    assert len(found) == FLAT
    assert all(match.low_information for match in found)
    for metric in ("thumb", "fingerprint"):
        others = index.query(folder / "a.png", metric=metric)
        assert not any(match.low_information for match in others)
    pairs = index.find_pairs(metric="thumb")
    marked = {(each.a, each.b) for each in pairs if each.low_information}
    assert len(marked) == 11 * 10 // 2
    assert all("/flat/" in path for pair in marked for path in pair)


def test_flat_pictures_match_by_fingerprint_only_if_they_are_copies(
    index: Index, folder: Path
) -> None:
    """There is nothing that a second look could compare."""
    assert list(index.query(folder / "flat" / "0.png")) == []
    (copy,) = index.query(folder / "flat" / "3.png")
    assert (Path(copy.path).name, copy.kind) == ("3 copy.png", "identical")
    assert copy.low_information
    flat_pairs = [pair for pair in index.find_pairs() if "/flat/" in pair.a + pair.b]
    assert [(pair.kind, pair.low_information) for pair in flat_pairs] == [("identical", True)]


def test_a_flat_picture_and_another_are_not_marked(index: Index) -> None:
    """Only two flat pictures say nothing by being near."""
    faint = np.asarray(flat(104)).copy()
    faint[::2, :, 0] += 16
    faint[:24, :, 1] += 16
    found = index.query(faint, k=None, cutoff=1000)
    assert len(found) >= FLAT
    assert not any(match.low_information for match in found)


def test_one_faint_picture_does_not_join_the_flat_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is near to all of them, and says a little; they would be one giant group."""
    monkeypatch.setattr(building, "map_items", here)
    for number in range(4):
        save(tmp_path / "photos" / f"{number}.png", flat(100 + number))
    faint = np.asarray(flat(102)).copy()
    faint[::2, :, 0] += 8
    faint[:24, :, 1] += 11
    save(tmp_path / "photos" / "faint.png", Image.fromarray(faint))
    building.build([tmp_path / "photos"], tmp_path / "index", Options(workers=1))
    index = annidx.open(tmp_path / "index")
    near = index.query(tmp_path / "photos" / "faint.png", metric="thumb")
    assert len(near) == 4
    assert not any(match.low_information for match in near)
    groups = index.groups(metric="thumb")
    assert list(groups) == []
    assert groups.low_information == 4
    assert list(index.groups()) == []


# --- several threads, odd names -------------------------------------------------------------------


def test_eight_threads_get_the_same_answers(index: Index, folder: Path) -> None:
    sources = sorted(folder.rglob("*.png"))[:12]
    expected = [list(index.query(source)) for source in sources]
    fresh = annidx.open(folder.parent / "index")  # nothing of it is loaded yet
    answers: list[list[list[annidx.Match]]] = []
    errors: list[BaseException] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        try:
            barrier.wait(10)
            answers.append([list(fresh.query(source)) for source in sources])
            assert fresh.pairs(metric="thumb").num_rows == 65
            assert fresh.pairs().num_rows == 11
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert answers == [expected] * 8


def here(
    function: Callable[[Any], Any], batches: Iterable[Sequence[Any]], **_: object
) -> Iterator[Any]:
    for batch in batches:
        yield from map(function, batch)


def test_names_that_are_not_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "map_items", here)
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        save(folder / os.fsdecode(b"\xff.png"), photo(1))
    except OSError:
        pytest.skip("this file system wants UTF-8")
    save(folder / "b.png", photo(1))
    (folder / os.fsdecode(b"\xfe.jpg")).write_bytes(b"\xff\xd8\xff garbage")
    building.build([os.fsencode(folder)], tmp_path / "index", Options(workers=1))
    index = annidx.open(tmp_path / "index")
    (pair,) = index.find_pairs()
    assert (pair.raw_a, pair.raw_b) == (
        os.fsencode(folder / "b.png"),
        os.fsencode(folder) + b"/\xff.png",
    )
    assert Path(pair.b).exists()
    (match,) = index.query(folder / "b.png")
    assert match.path == pair.b
    assert index.pairs().to_pylist()[0]["b"].endswith("caf\ufffd/\ufffd.png")
    assert index.failures()[0][0] == os.fsencode(folder) + b"/\xfe.jpg"


def test_the_archive_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    annidx.build(tmp_path / "photos", index=tmp_path / "index")
    index = annidx.open(tmp_path / "index")
    assert len(index) == 0
    for metric in ("fingerprint", "thumb", "signature"):
        assert list(index.query(photo(1), metric=metric)) == []
        assert index.has(photo(1), metric=metric).nearest is None
        assert index.pairs(metric=metric).num_rows == 0
        assert list(index.groups(metric=metric)) == []
        assert list(index.neighbours(metric=metric)) == []
    assert index.failures() == []


def test_what_is_unlinked_under_an_open_index_is_still_answered(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers take no lock: a later build may clear away the files of an older snapshot."""
    monkeypatch.setattr(building, "map_items", here)
    building.build([folder / "single"], tmp_path / "index", Options(workers=1))
    index = annidx.open(tmp_path / "index")
    shutil.rmtree(tmp_path / "index")
    assert len(index.query(photo(100))) == 1
    assert index.pairs().num_rows == 0


def test_open_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNIDX_INDEX", str(tmp_path / "default"))
    with pytest.raises(annidx.AnnidxError, match="default"):
        annidx.open()
    with pytest.raises(FolderNotFound):
        annidx.build(tmp_path / "missing")
    assert files.manifest_paths(tmp_path / "default") == []


def test_matches_are_a_sequence(index: Index, folder: Path) -> None:
    found: Matches = index.query(folder / "a.png")
    assert len(found) == len(list(found)) == 4
    assert found[0] == next(iter(found))
    assert found[1:3] == (found[1], found[2])


# --- measured recall ----------------------------------------------------------------------------


def test_recall_tells_what_queries_miss(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    found = index.recall("thumb", sample=1000)
    assert (found.metric, found.cutoff, found.engines) == ("thumb", 300.0, ("graph",))
    assert found.certificate.recall == 1.0
    assert found.certificate.pairs > 0
    search = index.engines.search

    def forgetful(*args: Any, **options: Any) -> list[tuple[Hits, Any]]:
        return [
            (Hits(hits.rows[:1], hits.distances[:1], hits.complete), engine)
            for hits, engine in search(*args, **options)
        ]

    monkeypatch.setattr(index.engines, "search", forgetful)
    assert index.recall("thumb", sample=1000).certificate.found == 0
    with pytest.raises(UsageError, match="sample is 0"):
        index.recall("thumb", sample=0)


def test_recall_is_that_of_single_queries(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though for the whole sample at once the planner would scan."""
    monkeypatch.setattr(planner, "MARGIN_S", 0.0)
    monkeypatch.setattr(planner, "GRAPH_LOAD_S", 0.0)
    monkeypatch.setattr(planner, "GRAPH_QUERY_S", 2e-5)
    stored = index.engines.vectors("thumb").take(np.arange(len(index)))
    searched = index.engines.search(THUMB, stored, 300.0, None)
    assert {engine for _, engine in searched} == {"exact"}
    assert index.recall("thumb", sample=1000).engines == ("graph",)
