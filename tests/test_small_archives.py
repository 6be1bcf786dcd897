"""Archives of none, one and two pictures, all equal, all flat, all gone: every request answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annidx import Index
from annidx.errors import UsageError
from annidx.model import Record
from annidx.search.vectors import Stored
from tests.archive import query_of
from tests.commands.running import complaint, json_lines
from tests.covered import index_of, records
from tests.making import photo, save, signatures, thumbs


def flat(count: int) -> Stored:
    """Return thumbs of one colour; those up to eight levels apart are within 300."""
    levels = np.arange(100, 100 + count, dtype=np.uint8)
    return np.repeat(levels[:, None], 1200, axis=1)


THUMBS: dict[str, Stored] = {
    "none": thumbs(1, 1)[:0],
    "one": thumbs(1, 1),
    "two": thumbs(2, 1),
    "a pair": np.repeat(thumbs(1, 1), 2, axis=0),
    "equal": np.repeat(thumbs(1, 1), 40, axis=0),
    "flat": flat(40),
    "gone": np.repeat(thumbs(1, 1), 20, axis=0),
}
WAYS: dict[str, dict[str, Any]] = {
    "auto": {},
    "graph": {"engine": "graph"},
    "exact": {"engine": "exact"},
    "exhaustive": {"exact": True},
}
STRANGE = query_of(records(thumbs(1, 77), signatures(1, 77))[0])
"""A picture that no archive has."""


@dataclass(frozen=True)
class Archive:
    """A small index, the pictures in it, and which of them are pairs within 300."""

    index: Index
    live: list[Record]
    pairs: set[tuple[int, int]]
    has_graph: bool

    def asked(self, way: str, ask: Callable[..., Any]) -> Any:
        """Ask one way; None when there is no graph to ask, which must be said."""
        if way != "graph" or self.has_graph:
            return ask(**WAYS[way])
        with pytest.raises(UsageError, match="no usable graph for thumb"):
            ask(engine="graph")
        return None


def archive_of(name: str, place: Path) -> Archive:
    stored = THUMBS[name]
    rows = records(stored, signatures(40, 1)[: len(stored)])
    removed = {0: ((0, len(rows)),)} if name == "gone" else {}
    graphs_of = {"thumb": [[0]]} if rows else {}
    index = index_of(place, [rows] if rows else [], graphs_of=graphs_of, removed=removed)
    live = [] if removed else rows
    values = stored[: len(live)].astype(float)
    pairs = {
        (a, b)
        for a in range(len(live))
        for b in range(a + 1, len(live))
        if np.linalg.norm(values[a] - values[b]) <= 300
    }
    return Archive(index, live, pairs, bool(rows))


@pytest.fixture(scope="module", params=THUMBS)
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return archive_of(request.param, tmp_path_factory.mktemp("small").resolve() / "index")


def near(archive: Archive, number: int) -> int:
    """Return how many pictures are within 300 of one, itself included."""
    return 1 + sum(number in pair for pair in archive.pairs)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("k", [None, 3])
def test_queries(archive: Archive, way: str, k: int | None) -> None:
    asked = [query_of(row) for row in archive.live[::9]]
    ask = partial(archive.index.query_many, [*asked, STRANGE], k=k)
    if (found := archive.asked(way, ask)) is None:
        return
    expected = [*(near(archive, number) for number in range(0, len(archive.live), 9)), 0]
    most = len(archive.live) if k is None else k
    assert [len(each) for each in found] == [min(most, count) for count in expected]
    assert [each.answer.complete for each in found] == [count <= most for count in expected]
    assert archive.index.query_many([], **WAYS[way]) == []


@pytest.mark.parametrize("way", WAYS)
def test_vectors(archive: Archive, way: str) -> None:
    assert archive.index.query_vectors(np.zeros((0, 1200), np.uint8), **WAYS[way]) == []
    everything = partial(archive.index.query_vectors, thumbs(1, 77), k=None, cutoff=np.inf)
    found = archive.asked(way, everything)
    assert found is None or [len(each) for each in found] == [len(archive.live)]


@pytest.mark.parametrize("way", WAYS)
def test_has(archive: Archive, way: str) -> None:
    asked = [STRANGE, *map(query_of, archive.live[:1])]
    found = archive.asked(way, partial(archive.index.has_many, asked))
    if found is None:
        return
    assert [bool(each) for each in found] == [False, True][: len(asked)]
    assert [each.nearest is not None for each in found] == [bool(archive.live)] * len(asked)


@pytest.mark.parametrize("way", WAYS)
def test_pairs_and_neighbours(archive: Archive, way: str) -> None:
    found = archive.asked(way, archive.index.find_pairs)
    if found is None:
        return
    assert len(found) == len({(pair.a, pair.b) for pair in found}) == len(archive.pairs)
    assert archive.index.pairs(**WAYS[way]).num_rows == len(archive.pairs)
    neighbours = archive.index.neighbours(k=2, **WAYS[way])
    ends = {number for pair in archive.pairs for number in pair}
    assert [len(each) for each in neighbours] == [
        min(2, near(archive, number) - 1)
        for number in sorted(ends, key=lambda number: archive_path(archive, number))
    ]
    just = archive.index.find_pairs(max_pairs=len(archive.pairs), **WAYS[way])
    assert len(just) == len(archive.pairs)
    if archive.pairs:
        with pytest.raises(UsageError, match="more than the limit"):
            archive.index.find_pairs(max_pairs=len(archive.pairs) - 1, **WAYS[way])


def archive_path(archive: Archive, number: int) -> bytes:
    row = archive.live[number]
    return archive.index.snapshot.folders[row.file.root_id] + row.file.path


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("linkage", ["connected", "complete", "star"])
def test_groups(archive: Archive, way: str, linkage: Any) -> None:
    found = archive.asked(way, partial(archive.index.groups, linkage=linkage))
    if found is None:
        return
    is_flat = bool(archive.live) and archive.live[0].descriptors["thumb"] == flat(1).tobytes()
    assert found.low_information == (len(archive.live) if is_flat else 0)
    sizes = [len(group.paths) for group in found]
    assert sizes == ([len(archive.live)] if archive.pairs and not is_flat else [])


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["auto", "graph"])
def test_the_command_line(archive: Archive, tmp_path: Path, engine: str) -> None:
    picture = save(tmp_path / "strange.png", photo(1))
    how: Any = {"index": archive.index.snapshot.index}
    verbs: dict[str, list[Any]] = {
        "pairs": [],
        "groups": [],
        "query": [picture],
        "has": [picture],
    }
    counts = {}
    for verb, words in [*verbs.items(), ("query", ["--all"])]:
        code = 20 if verb == "has" else 0
        if engine == "graph" and not archive.has_graph:
            said = complaint(verb, *words, "--engine", engine, code=2, **how)
            assert "no usable graph for thumb" in said
            continue
        _, summary = json_lines(verb, *words, "--engine", engine, code=code, **how)
        assert summary["complete"] is True or words == ["--all"]
        counts[verb, len(words)] = summary["count"]
        if words == ["--all"]:
            assert (summary["count"] > 0) == bool(archive.pairs)
    assert counts.get(("pairs", 0), len(archive.pairs)) == len(archive.pairs)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cutoff", "nan"], "cutoff is nan"),
        (["--cutoff=-1"], "cutoff is -1"),
        (["--cutoff=-inf"], "cutoff is -inf"),
        (["--max-pairs=-1"], "max_pairs is -1"),
        (["--limit", "0"], "limit is 0"),
        (["--metric", "signature", "--engine", "graph"], "no usable graph for signature"),
    ],
)
def test_what_makes_no_sense_of_a_pair(tmp_path: Path, words: list[str], said: str) -> None:
    archive = archive_of("a pair", tmp_path.resolve() / "index")
    assert said in complaint("pairs", *words, code=2, index=archive.index.snapshot.index)
