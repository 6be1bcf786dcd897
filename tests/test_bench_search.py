"""scripts/bench_search.py on a few vectors: every part runs, and what it says of them is true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import annidx
from annidx.descriptors import THUMB
from scripts import bench_search, metering, search_rivals, search_work, vectors_index
from scripts.bench_search import Bench
from scripts.bench_tables import exponent, table
from tests.making import copies, mixture, thumbs

COUNT = 600
REPOSITORY = Path(__file__).parents[1]

Row = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of vectors as make_vectors.py writes them."""
    folder = tmp_path_factory.mktemp("vectors")
    np.save(folder / "T.npy", mixture(THUMB, COUNT, 1))
    levels = np.random.default_rng(2).integers(-2, 3, (COUNT, 272)).astype(np.int8)
    levels[1::20] = levels[::20]
    np.save(folder / "S.npy", levels)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Row]]:
    """Return what a whole run prints, and its rows."""
    place = tmp_path_factory.mktemp("bench")
    parts = [name for name in bench_search.PARTS if name != "rivals"]  # not installed here
    words: list[str | Path] = [
        "--work",
        place / "work",
        "--json",
        place / "rows.json",
        "--only",
        ",".join(parts),
    ]
    words += ["--loop", "40", "--repeat", "1", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench_search", folder, *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((place / "rows.json").read_text())["rows"]
    assert {row["part"] for row in rows} == set(parts)
    return done.stdout, rows


def test_every_row_has_its_cost_and_its_recall(run: tuple[str, list[Row]]) -> None:
    text, rows = run
    for row in rows:
        assert row["n"] == COUNT
        assert row["cpu_s"] > 0
        assert row["wall_s"] > 0
        assert row["rss_mb"] > 20
        if row["part"] != "cold" and row["work"] != "loop":
            assert row["recall"] >= 0.999, row
        assert f"| {row['work']} | {COUNT} |" in text
    assert not [row for row in rows if row.get("wrong")]


def test_the_ratio_is_that_of_the_loop(run: tuple[str, list[Row]]) -> None:
    loop, pairs, _ = [row for row in run[1] if row["part"] == "literal"]
    assert loop["cpu_s"] == pytest.approx(loop["measured_cpu_s"] * COUNT * 599 / (40 * 39))
    assert pairs["ratio"] == pytest.approx(loop["cpu_s"] / pairs["cpu_s"])
    assert pairs["must"] == ">= 1000x"


def test_pairs_that_are_missed_or_wrong_are_told(folder: Path, tmp_path: Path) -> None:
    options = {"vectors": str(folder), "work": str(tmp_path)}
    true, asked = search_work.truth(str(tmp_path), str(folder), "thumb", COUNT, 300.0)
    assert len(asked) == COUNT
    assert len(true) > 100
    found = np.append(true[3:], [7, 8])  # of row 0 with rows that are no neighbours of it
    row = search_work.compared(found, options, "thumb", COUNT, 300.0)
    assert row["recall"] == pytest.approx(1 - 3 / len(true))
    assert row["wrong"] == len(np.setdiff1d(found, true)) > 0


def test_a_large_set_is_judged_by_a_sample(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"vectors": str(folder), "work": str(tmp_path)}
    everything, _ = search_work.truth(str(tmp_path), str(folder), "thumb", COUNT, 300.0)
    monkeypatch.setattr(search_work, "ALL_PAIRS_ROWS", 10)
    monkeypatch.setattr(search_work, "SAMPLED_ROWS", 60)
    (tmp_path / "sampled").mkdir()
    options["work"] = str(tmp_path / "sampled")
    row = search_work.compared(everything, options, "thumb", COUNT, 300.0)
    assert (row["recall"], row["wrong"], row["truth"]) == (1.0, 0, "60 rows scanned")
    assert 0 < row["true_pairs"] < len(everything)


def test_an_index_of_vectors_answers(tmp_path: Path) -> None:
    stored = np.concatenate([thumbs(50, 1), copies(THUMB, thumbs(50, 1)[:10], 2)])
    vectors_index.make(tmp_path / "i", stored, np.zeros((60, 272), np.int8), threads=1)
    index = annidx.open(tmp_path / "i")
    assert len(index) == 60
    (found,) = index.query_vectors(stored[3:4])
    assert [match.path for match in found] == [
        "/vectors/000/0000004.jpg",
        "/vectors/000/0000054.jpg",
    ]
    assert found.answer.engine == "graph"


def test_a_rival_widens_its_search_until_it_finds_enough(folder: Path, tmp_path: Path) -> None:
    options = {"vectors": str(folder), "work": str(tmp_path), "threads": 1, "cutoff": 300.0}
    options |= {"count": COUNT, "dimension": 64, "rival": "annidx (nmslib)"}
    row = search_rivals.rival(options)
    assert row["recall"] >= search_rivals.TARGET
    assert row["width"] in search_rivals.WIDTHS
    assert row["neighbours"] > 200
    assert 0 < row["p50_us"] <= row["p99_us"]


def test_rivals_are_compared_with_the_best_graph_that_finds_enough() -> None:
    names = {"annidx (nmslib)": 30, "hnswlib": 20, "faiss HNSWFlat, range": 10, "faiss IVFFlat": 5}
    rows: list[Row] = [{"rival": name, "cpu_us": us, "recall": 1.0} for name, us in names.items()]
    assert [row["of_best"] for row in bench_search.beside_the_best(rows)] == [3, 2, 1, 0.5]
    rows[2]["recall"] = 0.99
    assert [row["of_best"] for row in bench_search.beside_the_best(rows)][:2] == [1.5, 1]
    assert [row["of_best"] for row in bench_search.beside_the_best(rows[:1])] == [None]


def test_the_exponent_is_fitted_at_300_alone() -> None:
    rows: list[Row] = [{"n": n, "cutoff": 300.0, "cpu_s": n**1.3} for n in (10, 100, 1000)]
    assert exponent([*rows, {"n": 10, "cutoff": 600.0, "cpu_s": 9999.0}]) == pytest.approx(1.3)
    assert exponent(rows[:1]) is None


def test_a_table_has_the_columns_that_are_used() -> None:
    rows: list[Row] = [{"work": "a", "n": 1000, "recall": 1.0}, {"work": "b", "n": 2, "cpu_s": 0.5}]
    assert table(rows).splitlines() == [
        "| work | n | cpu s | recall |",
        "| --- | --- | --- | --- |",
        "| a | 1,000 |  | 1.00000 |",
        "| b | 2 | 0.5 |  |",
    ]


def test_sizes_beyond_the_vectors_are_left_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tmp_path, 60_000, loop=10, repeat=1, threads=1)
    assert bench.sizes(20_000, 50_000, 100_000) == [20_000, 50_000]
    assert bench.sizes(100_000) == [60_000]


def test_memory_of_the_work_is_seen() -> None:
    held: list[bytearray] = []
    before = metering.memory_mb("RssAnon")
    _, cost = metering.metered(lambda: held.append(bytearray(b"x") * 50_000_000))
    assert cost.anon_mb > before + 45
    assert cost.rss_mb >= cost.anon_mb


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--work", "w", "--only", "whole,parts"], "--only: parts: expected some of literal, "),
        (["--work", "w"], "holds no T.npy: make it with bench/make_vectors.py"),
        ([], "the following arguments are required: --work"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench_search.main([str(tmp_path), *words])
    assert re.search(re.escape(said), capsys.readouterr().err)
