"""annidx groups: what pairs make groups by which rule, with diameters."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands.running import (
    PICTURES,
    SEARCH_SUMMARY,
    Row,
    edits,
    ends,
    json_lines,
    run,
    usage_error,
    without_seconds,
)
from tests.making import photo, save
from tests.pages import slide

Answered = tuple[list[Row], Row]
THUMB = ("--metric", "thumb")


@pytest.fixture(scope="module")
def found(index: Path) -> Answered:
    return json_lines("groups", index=index)


def test_json_has_every_key_of_the_contract(found: Answered) -> None:
    rows, summary = found
    for row in rows:
        assert {"group", "linkage", "paths", "diameter"} <= row.keys()
        assert row["linkage"] == "connected"
        assert len(row["paths"]) >= 2
        assert all(path.startswith(f"{PICTURES}/") for path in row["paths"])
        assert row["paths"] == sorted(row["paths"], key=str.encode)
        assert row["diameter"] >= row["weakest"]
    assert [row["group"] for row in rows] == list(range(1, len(rows) + 1))
    sizes = [len(row["paths"]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert summary.keys() >= SEARCH_SUMMARY
    assert (summary["count"], summary["pictures"]) == (len(rows), sum(sizes))
    assert (summary["complete"], summary["engine"]) == (True, "exact")


def test_groups_are_what_the_pairs_connect(all_pairs: Answered, found: Answered) -> None:
    pairs, _ = all_pairs
    group_of = {path: row["group"] for row in found[0] for path in row["paths"]}
    assert group_of.keys() == set().union(*(ends(pair) for pair in pairs))
    assert all(group_of[pair["a"]] == group_of[pair["b"]] for pair in pairs)
    assert all(len({group_of[path] for path in each}) == 1 for each in edits("copy", "resized"))
    for row in found[0]:
        inside = [pair["distance"] for pair in pairs if pair["a"] in row["paths"]]
        assert row["diameter"] >= max(inside)
        assert row["weakest"] <= max(inside)
        assert len(inside) >= len(row["paths"]) - 1


def test_exact_says_the_same(index: Path, found: Answered) -> None:
    rows, summary = json_lines("groups", "--exact", index=index)
    assert rows == found[0]
    assert without_seconds(summary) == without_seconds(found[1])


def test_people_see_members_below_the_root_and_the_counts(index: Path, found: Answered) -> None:
    *lines, last = run("groups", index=index).stdout.splitlines()
    heads = [line for line in lines if not line.startswith("  ")]
    shape = r"group \d+: \d+ pictures, diameter [\d.]+, [\d.]+ k?B could be freed"
    assert all(re.fullmatch(shape, head) for head in heads)
    members = [line[2:] for line in lines if line.startswith("  ")]
    paths = [path for row in found[0] for path in row["paths"]]
    assert members == [str(Path(path).relative_to(PICTURES)) for path in paths]
    start = f"{len(heads)} groups of {len(members)} pictures within chance 1 (fingerprint, exact "
    assert last.startswith(start)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an index of a photo in four steps of brightness, each near to the next, and slides."""
    folder = tmp_path_factory.mktemp("steps") / "archive"
    base = np.asarray(photo(1), np.int16) // 2 + 60
    for at in range(4):
        save(folder / f"{at}.png", Image.fromarray((base + 6 * at).astype(np.uint8)))
    for number in range(3):
        save(folder / f"slide-{number}.png", slide(number))
    run("build", folder, index=folder.parent / "index")
    return folder.parent / "index"


@pytest.mark.parametrize("verb", [["groups"], ["export", "groups"]], ids=" ".join)
@pytest.mark.parametrize(
    ("linkage", "groups"),
    [("connected", ["0123"]), ("complete", ["01", "23"]), ("star", ["012"])],
)
def test_the_rule_that_is_asked_for(
    steps: Path, verb: list[str], linkage: str, groups: list[str]
) -> None:
    rows, summary = json_lines(*verb, "--linkage", linkage, *THUMB, index=steps)
    assert {row["linkage"] for row in rows} == {linkage}
    assert summary["count"] == len(groups)
    names: dict[int, list[str]] = {}
    for row in rows:
        paths = row["paths"] if "paths" in row else [row["path"]]
        names.setdefault(row["group"], []).extend(Path(path).stem for path in paths)
    assert ["".join(each) for each in names.values()] == groups
    assert all((row["diameter"] <= 300) is (linkage == "complete") for row in rows)


@pytest.mark.parametrize("linkage", ["connected", "complete", "star"])
def test_by_fingerprint_a_photo_and_its_tones_are_one_group(steps: Path, linkage: str) -> None:
    """And slides of one template, none of which is the other, are in none."""
    rows, summary = json_lines("groups", "--linkage", linkage, index=steps)
    assert [[Path(path).stem for path in row["paths"]] for row in rows] == [list("0123")]
    assert (summary["metric"], summary["linkage"]) == ("fingerprint", linkage)


def test_the_rule_of_the_summary(steps: Path) -> None:
    assert json_lines("groups", index=steps)[1]["linkage"] == "connected"
    assert json_lines("groups", "--linkage", "star", index=steps)[1]["linkage"] == "star"


def test_an_unknown_rule(steps: Path) -> None:
    refused = usage_error("groups", "--linkage", "average", index=steps)
    assert "invalid choice: 'average'" in refused


@pytest.mark.parametrize("verb", [["groups"], ["export", "groups"]], ids=" ".join)
def test_slides_of_one_template_join_only_unconfirmed(steps: Path, verb: list[str]) -> None:
    assert json_lines(*verb, *THUMB, index=steps)[1]["count"] == 1
    assert json_lines(*verb, "--unconfirmed", *THUMB, index=steps)[1]["count"] == 2


def test_pairs_that_join_nothing_are_counted(steps: Path) -> None:
    _, summary = json_lines("groups", *THUMB, index=steps)
    pairs, _ = json_lines("pairs", *THUMB, index=steps)
    slides = [pair for pair in pairs if "slide" in pair["a"]]
    assert summary["unconfirmed"] == len(slides) > 0
    assert re.search(
        rf"^{len(slides)} pairs? not joined: their signatures differ",
        run("groups", *THUMB, index=steps).stdout,
        re.MULTILINE,
    )
    assert json_lines("groups", "--unconfirmed", *THUMB, index=steps)[1]["unconfirmed"] == 0
    assert "not joined" not in run("groups", "--unconfirmed", *THUMB, index=steps).stdout


def test_no_group_at_all(unlike: Path) -> None:
    said = "0 groups of 0 pictures within "
    assert run("groups", index=unlike).stdout.startswith(f"{said}chance 1 (fingerprint")
    assert run("groups", *THUMB, index=unlike).stdout.startswith(f"{said}300 (thumb")


def test_flat_pictures_are_set_aside_unless_their_bytes_are_equal(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for level in (250, 252, 254):
        Image.new("RGB", (64, 48), (level, level, level)).save(folder / f"{level}.png")
    (folder / "copy.png").write_bytes((folder / "250.png").read_bytes())
    run("build", folder, index=tmp_path / "index")
    for metric in ("fingerprint", "thumb"):
        rows, summary = json_lines("groups", "--metric", metric, index=tmp_path / "index")
        names = [[Path(path).name for path in row["paths"]] for row in rows]
        assert names == [["250.png", "copy.png"]]
    assert summary["low_information"] == 4
    text = run("groups", *THUMB, index=tmp_path / "index").stdout
    assert "4 pictures of nearly one flat colour" in text
