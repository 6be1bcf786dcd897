"""scripts/bench_accuracy.py: what it counts is what there is, and every part of it runs."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts import accuracy_counts, accuracy_tools, bench_accuracy
from scripts.accuracy_counts import RATES, Tally, tally
from scripts.accuracy_peers import (
    PEERS,
    Distance,
    Vectors,
    describe,
    describe_all,
    distance_of,
    distances,
    usual,
)
from scripts.accuracy_tables import plot, share, tables
from scripts.accuracy_tools import Found
from scripts.accuracy_truth import Known, Truth, read
from scripts.metering import in_command

REPOSITORY = Path(__file__).parents[1]


def photo(seed: int) -> Image.Image:
    """Return a picture of a few low frequencies and some grain."""
    rng = np.random.default_rng(seed)
    x, y = (np.arange(length) * np.pi / length for length in (240, 180))
    waves = sum(
        rng.normal(0, 40 / (1 + max(i, j) / 2), 3)
        * np.outer(np.cos(i * y), np.cos(j * x))[..., None]
        for i in range(10)
        for j in range(10)
    )
    grain = rng.normal(0, 3, (180, 240, 3))
    return Image.fromarray(np.clip(128 + waves + grain, 0, 255).astype(np.uint8))


def known(*rows: str) -> Truth:
    """Return the truth of pictures told as 'group role', all of one set."""
    return Truth([Known(Path(f"/s/{at}"), "s", *row.split()) for at, row in enumerate(rows)])


def on_a_line(*places: int) -> Vectors:
    return np.array(places, np.int16)[:, None]


def counted(truth: Truth, *places: int, cutoff: float = 0.0) -> Tally:
    return tally(on_a_line(*places), "euclidean", truth, [cutoff])


# Counting


@pytest.mark.parametrize(
    ("third", "cutoff"),
    [(1000, 4.0), (109, 4.0), (108, 3.0), (107, None), (106, None)],
    ids=["far away", "beyond", "at the same distance", "as near as the nearest", "nearest"],
)
def test_a_false_pair_moves_the_cutoff(third: int, cutoff: float | None) -> None:
    truth = known("a orig", "a edit", "b orig", "b edit", "c other")
    made = counted(truth, 0, 3, 100, 104, third)
    assert made.precise() == cutoff


def test_one_pair_in_ten_thousand_may_be_false() -> None:
    made = Tally(np.ones(9_999), {}, 9_999, 100)
    made.add_false(np.array([1.0]), 100, 0.0)
    assert made.precise() == 1.0
    made.add_false(np.array([1.0]), 100, 0.0)
    assert made.precise() is None


def test_pairs_of_two_edits_are_true_and_recall_is_of_original_and_edit() -> None:
    truth = known("a orig", "a blur", "a gray", "b orig", "b blur", "c other")
    made = counted(truth, 0, 5, 6, 1000, 1050, 1001)
    row = made.at(6.0)
    assert (row["true_pairs"], row["false_pairs"]) == (3, 1)
    assert row["precision"] == 3 / 4
    assert made.recall(6.0) == {"blur": 0.5, "gray": 1.0}
    assert row["recall"] == 0.75
    assert row["recall_true"] == 3 / 4
    assert made.at(50.0)["true_pairs"] == 4


def test_related_pairs_are_neither_true_nor_false() -> None:
    truth = known("a orig", "b orig", "a+b collage", "c orig")
    assert (truth.true, truth.false, len(truth.related)) == (0, 4, 2)
    assert counted(truth, 0, 1000, 1, 2, cutoff=5.0).at(5.0)["false_pairs"] == 2
    assert [truth.relation(2, at) for at in (0, 1, 3)] == ["related", "related", "false"]


def by_hand(distance: Distance, one: Any, other: Any) -> float:
    if distance == "hamming":
        return float(np.sum(one != other))
    apart = float(np.linalg.norm(one.astype(float) - other))
    both = float(np.linalg.norm(one.astype(float)) + np.linalg.norm(other.astype(float)))
    return apart if distance == "euclidean" else apart / both if both else 0.0


@pytest.mark.parametrize("distance", ["hamming", "euclidean", "normalised"])
def test_all_pairs_are_those_of_a_loop(distance: Distance, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.integers(-2, 3, (60, 12)).astype(np.int16)
    vectors[7] = vectors[50] = 0
    if distance == "hamming":
        vectors = np.where(vectors > 0, 1, -1).astype(np.int16)
    roles = [f"{at // 4} {'orig' if at % 4 == 0 else f'edit-{at % 4}'}" for at in range(56)]
    truth = known(*roles, "0+1 collage", "x other", "y other", "z other")
    apart: dict[str, list[float]] = {"true": [], "false": [], "related": []}
    for a, b in combinations(range(60), 2):
        apart[truth.relation(a, b)].append(by_hand(distance, vectors[a], vectors[b]))
    monkeypatch.setattr(accuracy_counts, "CELLS", 7 * 60)
    middle = float(np.median(apart["false"]))
    made = tally(vectors, distance, truth, [middle])
    assert np.allclose(made.true, np.sort(apart["true"]))
    assert (made.all_true, made.all_false) == (truth.true, truth.false)
    assert (truth.true, truth.false) == (len(apart["true"]), len(apart["false"]))
    for cutoff in np.quantile(apart["false"], [0.0, 0.01, 0.2, 0.45]) + 1e-9:
        row = made.at(float(cutoff))
        assert row["true_pairs"] == sum(each <= cutoff for each in apart["true"])
        assert row["false_pairs"] == sum(each <= cutoff for each in apart["false"])
    assert len(made.values) < len(np.unique(apart["false"]))  # far ones are forgotten
    assert distances(distance, vectors, vectors).diagonal() == pytest.approx(0)


def test_near_pictures_that_are_no_edits_are_suspects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy_counts, "CELLS", 5)
    truth = known("a orig", "a blur", "b other", "c other", "c other", "b+c collage", "d other")
    places = on_a_line(0, 501, 500, 501, 502, 501, 7)
    assert accuracy_counts.suspects(places, "euclidean", truth, 5.0) == [(2, 3), (2, 4)]
    vectors = {"thumb": places, "signature": np.sign(places), "gray20": places + 9}
    rows = bench_accuracy.doubted({**vectors, "gray8": 50 * places}, truth)
    assert [row["a"] + row["b"] for row in rows] == ["/s/2/s/3", "/s/2/s/4", "/s/0/s/6"]
    assert rows[0]["descriptors"] == ["thumb", "signature", "gray20"]
    assert rows[2]["descriptors"] == ["thumb", "gray20"]


def test_the_curve_stays_under_the_next_false_pair() -> None:
    made = Tally(np.zeros(0), {"blur": np.array([1.0, 2.0, 3.0, 4.0])}, 4, 10_000)
    made.add_false(np.array([2.0, 2.0, 4.0, 9.0]), 100, 0.0)
    curve = made.curve(np.array([0.0, 1e-4, 2e-4, 3e-4]))
    assert curve == [0.25, 0.25, 0.75, 1.0]
    assert len(made.curve()) == len(RATES)


def test_sorts_of_pairs_add_up() -> None:
    truth = Truth(
        [
            *(
                Known(Path(f"/a/{at}"), "a", f"g{at // 3}", ["orig", "blur", "gray"][at % 3])
                for at in range(9)
            ),
            *(Known(Path(f"/a/{at}"), "a", "g0+g1", "collage") for at in range(9, 11)),
            *(Known(Path(f"/p/{at}"), "p", f"g{at // 2}", f"variant-{at % 2}") for at in range(6)),
        ]
    )
    pairs = list(combinations(range(len(truth)), 2))
    assert truth.possible() == Counter(truth.label(*pair) for pair in pairs)
    assert truth.possible()["p: variant + variant", "true"] == 3
    assert truth.possible()["a: collage + edit", "related"] == 8
    assert truth.relation(0, 11) == "false"  # g0 of two sets
    assert sum(truth.possible().values()) == len(pairs)


# The truth as it is read


def write_set(folder: Path, pictures: dict[str, tuple[str, str]], seeds: Sequence[int]) -> Path:
    folder.mkdir()
    for name, seed in zip(pictures, seeds, strict=True):
        photo(seed).save(folder / name, quality=90)
    with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(("file", "group", "role"))
        writer.writerows((name, *what) for name, what in pictures.items())
    return folder


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,group\na.jpg,a\n", "no column role"),
        ("file,group,role\na.jpg,a,orig\nb.jpg,a,blur\n", "b.jpg, which is not there"),
        ("file,group,role\na.jpg,a,orig\na.jpg,a,blur\n", "a.jpg is named twice"),
        ("file,group,role\na.jpg,a,orig\nc.jpg,c,other\n", "same bytes and different groups"),
    ],
)
def test_a_truth_that_cannot_be_is_refused(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path / "s", {"a.jpg": ("a", "orig"), "c.jpg": ("a", "x")}, [1, 1])
    assert len(read([folder])) == 2
    (folder / "truth.csv").write_text(text)
    with pytest.raises(SystemExit, match="2"):
        bench_accuracy.main([str(folder)])
    assert said in capsys.readouterr().err


def test_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    folders = [
        write_set(place / "s", {"a.jpg": ("a", "x")}, [1]) for place in (tmp_path, tmp_path / "t")
    ]
    with pytest.raises(ValueError, match="two folders are called s"):
        read(folders)


# Descriptors


PACKAGES_SAY = {
    "phash": ("f547bccb491dc510", "f5f49b0c4c2325f1"),
    "dhash": ("a049ee6a8b0a3e9e", "44181e862627d918"),
    "pdq": (
        "0afaafab087ccf8385fe1c0287ff395f8721a4800e51a79c2b49fea9038e7c71",
        "dfe7d51a632a72aa61aa450afaea54c1721560c772d210e29b994d18df6d32b7",
    ),
}
"""What imagehash 4.3.2 and pdqhash 0.2.8 (which begins with the last bit) say of photo(1), (2)."""


@pytest.mark.parametrize("name", PEERS)
def test_peers_are_those_of_their_packages(name: str) -> None:
    for seed, expected in zip((1, 2), PACKAGES_SAY[name], strict=True):
        bits = PEERS[name](photo(seed))[:: -1 if name == "pdq" else 1] > 0
        wanted = np.unpackbits(np.frombuffer(bytes.fromhex(expected), np.uint8))
        assert np.count_nonzero(bits != wanted) <= 1  # of libraries that round otherwise


@pytest.mark.parametrize("name", [*PEERS, "thumb", "signature"])
def test_a_recompressed_picture_is_near_and_another_is_far(name: str, tmp_path: Path) -> None:
    photo(1).save(tmp_path / "a.png")
    photo(1).save(tmp_path / "same.bmp")
    photo(1).save(tmp_path / "near.jpg", quality=40)
    photo(2).save(tmp_path / "far.png")
    files = [tmp_path / each for each in ("a.png", "same.bmp", "near.jpg", "far.png")]
    vectors = describe_all(files, [name])[name]
    distance = distance_of(name)
    same, near, far = distances(distance, vectors[:1], vectors[1:])[0].tolist()
    assert same == 0
    assert near <= max(usual(name)) < far


def test_orientation_is_heeded(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(1).save(tmp_path / "upright.png")
    photo(1).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    one, other = (describe(tmp_path / f"{each}.png", ["phash"]) for each in ("upright", "turned"))
    assert np.array_equal(one["phash"], other["phash"])


# annidx as a whole


def found(
    one: int, other: int, kind: str = "similar", distance: float = 1.0, chance: Any = None
) -> Found:
    return Found(one, other, distance, kind, None, chance)


def test_pairs_of_a_tool_are_judged() -> None:
    truth = known("a orig", "a blur", "a gray", "b orig", "b blur", "c other")
    pairs = [
        found(0, 1, "edited", 1.0),
        found(1, 2, "edited", 2.0),
        found(4, 5, "identical", 3.0),
        found(3, 4, "same-scene", 4.0),
    ]
    row = accuracy_tools.judged(pairs, truth)
    assert row["recall_by_edit"] == {"blur": 1.0, "gray": 0.0}
    assert (row["recall"], row["precision"], row["pairs"]) == (0.5, 0.75, 4)
    assert row["precise"]["cutoff"] == 2.0
    assert row["rate"] == 1 / 11
    (false,) = row["false"]
    assert (false["a"], false["b"], false["kind"]) == ("/s/4", "/s/5", "identical")
    assert row["kinds_by_edit"]["blur"] == {"edited": 1, "same-scene": 1}
    sorts = {(each["sort"], each["relation"]): each for each in row["kinds"]}
    assert sorts["s: edit + other", "false"]["duplicates_per_10000"] == 10_000 / 3
    assert sorts["s: edit + orig", "true"]["missed"] == 1


def test_chance_orders_before_distance() -> None:
    truth = known("a orig", "a blur", "b other")
    pairs = [found(0, 1, distance=9.0, chance=1e-9), found(0, 2, distance=1.0, chance=0.5)]
    assert accuracy_tools.judged(pairs, truth)["precise"]["cutoff"] == 1e-9


@pytest.mark.parametrize(
    ("chances", "observed", "within"),
    [([0.1] * 4, 4, "yes"), ([0.1] * 60, 60, "no"), ([], 0, "no"), ([11.0], 0, "no")],
)
def test_false_pairs_are_compared_with_those_predicted(
    chances: list[float], observed: int, within: str
) -> None:
    truth = known(*(f"{at} other" for at in range(61)), "60 other")
    pairs = [found(0, 1 + at, chance=each) for at, each in enumerate(chances)]
    pairs.append(found(60, 61, chance=0.0))  # a true one
    row = accuracy_tools.predicted(pairs, truth, 1e-5, 1_000_000)
    assert (row["predicted"], row["observed"], row["within_3"]) == (10.0, observed, within)
    few = accuracy_tools.predicted([], truth, 1e-7, 1_000_000)
    assert few["within_3"] == "too few to tell"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a set of three photos with two edits each, one of them no edit, and two others."""
    folder = tmp_path_factory.mktemp("sets") / "little"
    rows, seeds = {}, []
    for seed in range(3):
        for role, shown in (("orig", seed), ("tiny", seed), ("swap", 20 + seed)):
            rows[f"g{seed}-{role}.jpg"] = f"g{seed}", role
            seeds.append(shown)
    for seed in (10, 11):
        rows[f"o{seed}.jpg"] = f"o{seed}", "other"
        seeds.append(seed)
    write_set(folder, rows, seeds)
    for seed in range(3):
        photo(seed).resize((80, 60)).save(folder / f"g{seed}-tiny.jpg", quality=80)
    return folder


def test_a_whole_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--tools", "signature,nonsense", "--query", "--json", str(tmp_path / "f.json")]
    assert bench_accuracy.main([str(folder), "--descriptors", "phash,thumb", *options]) == 0
    said = capsys.readouterr()
    results = json.loads((tmp_path / "f.json").read_text())
    assert (results["true"], results["false"]) == (9, 46)
    assert {*results["descriptors"]} == {"phash", "thumb"}
    assert {*results["tools"]} == {"signature"}
    assert "unknown metric 'nonsense'" in said.err
    for row in (*results["descriptors"].values(), *results["tools"].values()):
        assert row["recall_by_edit"] == {"tiny": 1.0, "swap": 0.0}
    tool = results["tools"]["signature"]
    assert tool["cost"]["rss_mb"] > 20
    assert results["build"]["summary"]["images"] == 11
    assert [row["recall_by_edit"]["tiny"] for row in tool["queries"]] == [1.0, 1.0]
    assert [row["queries"] for row in tool["queries"]] == [6, 3]
    assert "| tiny | 1.000 | 1.000 | 1.000 |" in said.out
    assert "| **mean** | **0.500** | **0.500** | **0.500** |" in said.out
    for text in tables(results):
        rows = [line.count("|") for line in text.splitlines() if line.startswith("|")]
        assert len({*rows}) == 1, text


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curve = [None if rate > 1e-5 else 0.5 for rate in RATES]
    row = {"curve": curve, "recall": 0.5, "recall_true": 0.5, "rate": 1e-5}
    results = {"sets": {"s": 9}, "false": 10**6, "edits": ["blur"], "tools": {"thumb": row}}
    plot({**results, "descriptors": {"pdq": row}}, tmp_path / "p")
    assert "annidx thumb, default" in (tmp_path / "p.svg").read_text()
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_a_share_is_one_only_when_it_is_all() -> None:
    assert [share(each) for each in (1.0, 0.99999, 0.5, None)] == ["1.000", "0.999", "0.500", ""]


# What a command costs


def test_a_command_costs_what_it_and_its_children_take() -> None:
    held = bytearray(b"x") * 200_000_000  # a small command of a large process is small
    burn = "import time; e = time.process_time() + .3\nwhile time.process_time() < e: pass"
    left = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}]); sys.exit(3)"
    )
    ran = in_command([sys.executable, "-c", left])
    assert (ran.code, ran.output) == (3, "")
    assert 3 < ran.cost["rss_mb"] < len(held) / 1e6
    if sys.platform == "linux":
        assert ran.cost["cpu_s"] > 0.3
    echo = in_command(["cat"], stdin=b"word")
    assert (echo.code, echo.output) == (0, "word")


def test_what_is_no_descriptor_is_refused(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench_accuracy", folder, "--descriptors", "ahash"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--descriptors: ahash: expected some of phash, dhash, pdq, thumb" in done.stderr
