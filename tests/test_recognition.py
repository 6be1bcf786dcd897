"""Searches by fingerprint through the API: what is found, what is told, what limits it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import annidx
from annidx import Filter, Index
from annidx.errors import UsageError
from annidx.options import Options
from annidx.search import net, recognise
from annidx.store import snapshot
from tests.images.pictures import SHIPPED

HELD = ("thumb", "signature", "fingerprint")
GRAPHS = ("thumb", "fingerprint")
METRIC: dict[str, Any] = {"metric": "fingerprint"}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    place = tmp_path_factory.mktemp("recognition") / "index"
    annidx.build([SHIPPED], index=place, options=Options(descriptors=HELD, graph_metrics=GRAPHS))
    return annidx.open(place)


def names(found: Any) -> set[str]:
    return {Path(match.path).name for match in found}


def test_needs_come_with_a_descriptor(index: Index) -> None:
    assert set(index.manifest.descriptors) == {*HELD, "gray64"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("2019-holiday/summit-sunset.jpg", "summit-sunset-mirrored.jpg"),
        ("2019-holiday/summit-sunset.jpg", "summit-sunset-bright.jpg"),
        ("2019-holiday/summit-sunset.jpg", "summit-sunset-framed.jpg"),
        ("2019-holiday/edited/aitzgorri-meadow-crop.jpg", "aitzgorri-meadow.jpg"),
        ("2019-holiday/aitzgorri-meadow.jpg", "aitzgorri-meadow-framed.jpg"),
        ("exports/prints/fig-bowl-framed.jpg", "fig-bowl.jpg"),
    ],
)
def test_edits_are_found(index: Index, asked: str, expected: str) -> None:
    found = index.query(SHIPPED / asked, k=None, **METRIC)
    assert expected in names(found)
    assert found.answer.metric == "fingerprint"
    for match in found:
        assert match.score is not None
        assert match.chance is not None
        assert 0 <= match.score <= 1
        assert match.chance <= 1  # one false pair in the archive, by default
    chances = [match.chance or 0.0 for match in found]
    assert chances == sorted(chances)


def test_how_a_match_is_turned(index: Index) -> None:
    found = index.query(SHIPPED / "2019-holiday/summit-sunset.jpg", k=None, **METRIC)
    (mirrored,) = [each for each in found if each.path.endswith("mirrored.jpg")]
    assert mirrored.transform == "flip-horizontal"


def test_pairs_are_those_of_the_queries(index: Index) -> None:
    pairs = index.find_pairs(**METRIC)
    assert len(pairs) > 30
    assert len({(pair.raw_a, pair.raw_b) for pair in pairs}) == len(pairs)
    chances = [pair.chance or 0.0 for pair in pairs]
    assert chances == sorted(chances)
    of_one = SHIPPED / "2020-home/coffee.jpg"
    asked = names(index.query(of_one, k=None, **METRIC))
    paired = {
        Path(other).name
        for pair in pairs
        for one, other in ((pair.a, pair.b), (pair.b, pair.a))
        if Path(one) == of_one.resolve()
    }
    assert paired == asked
    assert paired >= {"coffee-mirrored.jpg", "coffee-edit.jpg"}


def test_engines_agree(index: Index) -> None:
    """Graphs of views, nodes of which stand for several of them."""
    (entry,) = index.engines.usable_graphs("fingerprint")
    assert entry.nodes > len(index)
    assert index.engines.uncovered("fingerprint") == 0
    by_graph, exactly = (index.find_pairs(engine=each, **METRIC) for each in ("graph", "exact"))
    assert (by_graph.answer.engine, exactly.answer.engine) == ("graph", "exact")
    assert list(by_graph) == list(exactly)
    asked = SHIPPED / "2019-holiday/summit-sunset.jpg"
    found = [list(index.query(asked, engine=each, **METRIC)) for each in ("graph", "exact")]
    assert found[0] == found[1] != []
    assert index.query(asked, exact=True, **METRIC).answer.exact


def test_the_recall_of_the_graph_is_that_of_matches(index: Index) -> None:
    """Copies, which cannot be missed, are neither asked nor counted."""
    measured = index.recall("fingerprint")
    assert (measured.engines, measured.pictures) == (("graph",), len(index) - 5)
    pairs = index.find_pairs(exact=True, **METRIC)
    assert 0 < measured.certificate.pairs < 2 * len(pairs)
    assert measured.certificate.recall == 1


def test_the_recall_tells_what_the_graph_loses(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_graphs = net.in_graphs

    def forgetful(*args: Any, **options: Any) -> net.Caught:
        caught = in_graphs(*args, **options)
        return caught.where(caught.rows % 4 > 0)

    monkeypatch.setattr(net, "in_graphs", forgetful)
    certificate = index.recall("fingerprint").certificate
    assert certificate.recall is not None
    assert 0.5 < certificate.recall < 0.9


def test_a_graph_that_is_not_there(tmp_path: Path) -> None:
    annidx.build([SHIPPED / "2020-home"], index=tmp_path, options=Options(descriptors=HELD))
    whole = snapshot.current(tmp_path).manifest
    snapshot.publish(tmp_path, replace(whole, graphs=()))
    opened = annidx.open(tmp_path)
    assert opened.find_pairs(**METRIC).answer.engine == "exact"
    with pytest.raises(UsageError, match="no usable graph for fingerprint"):
        opened.find_pairs(engine="graph", **METRIC)


def test_pictures_that_no_graph_covers_are_found(tmp_path: Path) -> None:
    place, root = tmp_path / "index", tmp_path / "root"
    shutil.copytree(SHIPPED / "2020-home", root)
    annidx.build([root], index=place, options=Options(descriptors=HELD, graph_metrics=GRAPHS))
    shutil.copy(SHIPPED / "2019-holiday/edited/summit-sunset-bright.jpg", root)
    annidx.build(index=place)
    opened = annidx.open(place)
    assert opened.engines.uncovered("fingerprint") == 1
    asked = SHIPPED / "2019-holiday/summit-sunset.jpg"
    assert names(opened.query(asked, engine="graph", **METRIC)) == {"summit-sunset-bright.jpg"}


def test_neighbours_and_groups(index: Index) -> None:
    found = index.neighbours(k=2, **METRIC)
    assert all(1 <= len(each) <= 2 for each in found)
    assert not found.answer.complete
    groups = index.groups(**METRIC)
    (sunsets,) = [g for g in groups if any("sunset" in path for path in g.paths)]
    assert all("sunset" in path for path in sunsets.paths)
    assert 0 < sunsets.diameter <= 2
    complete = index.groups(linkage="complete", **METRIC)
    assert sum(len(group.paths) for group in complete) <= sum(len(g.paths) for g in groups)


def test_a_table(index: Index) -> None:
    table = index.pairs(**METRIC)
    assert table.num_rows == len(index.find_pairs(**METRIC))


def test_has(index: Index) -> None:
    assert index.has(SHIPPED / "2020-home/coffee-mirrored.jpg", **METRIC)
    assert not index.has(SHIPPED / "scans/brick-wall.jpg", where=Filter(formats="PNG"), **METRIC)


@pytest.mark.parametrize(
    ("fewer", "more"),
    [
        ({"false_pairs": 1e-9}, {"false_pairs": 100.0}),
        ({"fpr": 1e-12}, {"fpr": 1e-3}),
        ({"cutoff": 0.1}, {}),
        ({"views": "fast"}, {"views": "default"}),
        ({"where": Filter(formats="PNG")}, {}),
        ({"limit": 3}, {}),
    ],
)
def test_what_limits_it(index: Index, fewer: dict[str, Any], more: dict[str, Any]) -> None:
    assert len(index.find_pairs(**METRIC, **fewer)) < len(index.find_pairs(**METRIC, **more))
    asked = SHIPPED / "2019-holiday/summit-sunset.jpg"
    few, many = (len(index.query(asked, k=None, **METRIC, **each)) for each in (fewer, more))
    assert few <= many


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "thumb", "fpr": 1e-6}, "fpr goes with metric fingerprint, not with thumb"),
        ({"metric": "thumb", "views": "fast"}, "views goes with metric fingerprint"),
        ({**METRIC, "transforms": "flips"}, "flips and turns by itself: give views"),
        ({**METRIC, "fpr": 0.0}, "fpr is 0.0, expected a number above 0"),
        ({**METRIC, "false_pairs": -1.0}, "false_pairs is -1.0, expected"),
        ({**METRIC, "false_pairs": 1.0, "fpr": 1e-6}, "each limit chance: give one"),
        ({**METRIC, "false_pairs": 1.0, "match": "strict"}, "each limit chance: give one"),
        ({**METRIC, "views": "all"}, "views is 'all', expected one of 'fast', 'default'"),
    ],
)
def test_what_is_refused(index: Index, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        index.query(SHIPPED / "2020-home/coffee.jpg", **options)


def test_a_vector_alone_cannot_be_asked(index: Index) -> None:
    with pytest.raises(UsageError, match="needs the picture beside its vector"):
        index.query_vectors([[0] * 64], **METRIC)


def test_many_copies_of_a_picture_are_all_found(tmp_path: Path) -> None:
    archive, copies, near = tmp_path / "archive", 120, 5
    archive.mkdir()
    with Image.open(SHIPPED / "2020-home/coffee.jpg") as image:
        for at in range(near):
            image.save(archive / f"near{at}.jpg", quality=70 + 5 * at)
    for at in range(copies):
        shutil.copy(SHIPPED / "2020-home/coffee.jpg", archive / f"copy{at}.jpg")
        Image.new("RGB", (60, 40), "white").save(archive / f"blank{at % 3}.png")
    place = tmp_path / "index"
    annidx.build([archive], index=place, options=Options(descriptors=HELD))
    index = annidx.open(place)
    pairs = index.find_pairs(**METRIC)
    every = copies + near
    assert len(pairs) == every * (every - 1) // 2 + 3
    blanks = [pair for pair in pairs if "blank" in pair.a]
    assert {(pair.kind, pair.chance) for pair in blanks} == {("identical", 0.0)}
    found = index.query(archive / "near0.jpg", k=None, **METRIC)
    assert len(found) == every - 1
    assert found.answer.complete
    assert len(index.query(archive / "blank1.png", k=None, **METRIC)) == 2


def test_builds_measure_chances_once_the_archive_has_changed(tmp_path: Path) -> None:
    place, root = tmp_path / "index", tmp_path / "root"
    shutil.copytree(SHIPPED / "2020-home", root)
    annidx.build([root], index=place)
    first = annidx.open(place).manifest
    assert first.chance is not None
    count = first.chance["pictures"]
    assert count == annidx.open(place).pictures
    assert not annidx.build(index=place).published
    for name in ("one.jpg", "two.jpg"):
        shutil.copy(SHIPPED / "2019-holiday/summit-sunset.jpg", root / name)
        annidx.build(index=place)
        (root / name).touch()
    chances = [annidx.open(place).manifest.chance, first.chance]
    assert chances[0] is not None
    assert chances[0]["pictures"] == count + 2  # two are more than a tenth of them, one is not
    pair = {"kinds": "edited", **METRIC}
    then = annidx.open(place).find_pairs(cutoff_from=first.number, **pair)
    now = annidx.open(place).find_pairs(**pair)
    assert then[0].chance != now[0].chance
    with pytest.raises(UsageError, match=r"snapshot 99 is not there, cutoff_from needs one of 1, "):
        annidx.open(place).find_pairs(cutoff_from=99, **METRIC)
    with pytest.raises(UsageError, match="cutoff_from goes with metric fingerprint"):
        annidx.open(place).find_pairs(cutoff_from=1, metric="thumb")


def test_a_snapshot_that_measured_no_chances(tmp_path: Path) -> None:
    root = SHIPPED / "2020-home"
    annidx.build([root], index=tmp_path, options=Options(descriptors=("thumb", "signature")))
    annidx.build(index=tmp_path, options=Options(descriptors=HELD))
    opened = annidx.open(tmp_path)
    with pytest.raises(UsageError, match="snapshot 1 measured no chances, cutoff_from needs one"):
        opened.find_pairs(cutoff_from=1, **METRIC)


def test_a_join_tells_how_far_it_is(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are compared once: 58 of the 63 pictures are."""
    monkeypatch.setattr(recognise, "_TOGETHER", 25)
    told: list[tuple[int, int]] = []
    opened = annidx.open(index.snapshot.index, progress=lambda *each: told.append(each))
    assert len(opened.find_pairs(**METRIC)) > 0
    assert told == [(25, 58), (50, 58), (58, 58)]
