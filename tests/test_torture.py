"""The real pictures beside the repository: damaged ones, odd ones, and edits of known originals.

Which edits a metric finds was measured and agrees with what each looks at: thumbs compare colours
and brightness in their places, signatures only which of two neighbouring points is brighter.
"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest

from tests.commands.running import Row, ends, json_lines, run

Index = Path
Found = dict[frozenset[str], float]

DEFAULTS = {"thumb": "300", "signature": "0.3"}

BRIDGE = {
    "thumb": {
        "original",
        "blur-a-little",
        "blur-a-lot",
        "sharpen-a-little",
        "shrink-a-little",
        "shrink-a-lot",
        "square-128x128",
        "square-256x256",
        "square-512x512",
    },
    "signature": {"sharpen-a-lot", "high-contrast", "high-saturation"},
}
BRIDGE["signature"] |= BRIDGE["thumb"]
"""The edits of the bridge that are near the original. Turned and mirrored ones are not: neither
metric looks for them. sharpen-a-lot and the stronger colours have thumbs at 431, 332 and 436."""
SAME_BRIDGE = "misc-images/modes/"

MODES = {
    "thumb": {"CMYK.jpg", "HSV.webp", "LAB.webp", "P.png", "PA.webp"}
    | {"RGB.jpg", "RGBA.png", "YCbCr.jpg"},
    "signature": {"1.png", "F.webp", "I.webp", "L.png", "LA.png"},  # without the colours
}
MODES["signature"] |= MODES["thumb"]

SAME_PICTURE = {
    "formats_images/ukbench09380.bmp",
    "formats_images/ukbench09380.jpeg",
    "formats_images/ukbench09380.png",
    "formats_images/ukbench09380.svg",  # a PNG by content
    "formats_images/ukbench09380.webp",
    "mixed_images/ukbench00120.jpg",
    "mixed_images/ukbench00120_resize.jpg",
    "mixed_images/ukbench09268.jpg",
    "mixed_nested_images/lvl1/lvl2b/ukbench00120_resize.jpg",
    "mixed_nested_images/lvl1/lvl2b/ukbench09268.jpg",
    "mixed_nested_images/lvl1/ukbench00120.jpg",
}
EDITED = {"thumb": SAME_PICTURE, "signature": SAME_PICTURE | {"ukbench00120_gray.jpg"}}
ALSO_UKBENCH00120 = "alpha_channel_image.png"  # which the ground truth does not say
CORRUPT = {
    "mixed_images/ukbench09268_corrupt.jpg",
    "mixed_nested_images/ukbench09268_corrupt.jpg",
}


@pytest.fixture(scope="module")
def pictures(shared: Path) -> Path:
    """Return the folder of real pictures."""
    return shared.resolve() / "data"


@pytest.fixture(scope="module")
def index(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Build an index over all of them: some are unreadable, and that is all that is wrong."""
    index = tmp_path_factory.mktemp("torture") / "index"
    done = run("build", pictures, "--graphs", "thumb", index=index, code=3, workers=True)
    assert done.stderr == ""
    return index


@pytest.fixture(scope="module", params=["thumb", "signature"])
def metric(request: pytest.FixtureRequest) -> str:
    """Return each metric in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def found(index: Index, metric: str) -> Found:
    """Return all pairs within the usual cutoff of a metric, with their distances."""
    words = ("--metric", metric, "--cutoff", DEFAULTS[metric])
    rows, summary = json_lines("pairs", *words, index=index)
    assert (summary["complete"], summary["engine"]) == (True, "exact")
    scanned, _ = json_lines("pairs", *words, "--exact", index=index)
    assert rows == scanned
    return {ends(row): row["distance"] for row in rows}


def truth(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a folder's ground truth."""
    with (folder / "ground_truth.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def near(found: Found, folder: Path, original: str) -> set[str]:
    """Return the files of a folder that form a pair with one of them."""
    others = {path for each in found if f"{folder}/{original}" in each for path in each}
    start = f"{folder}/"
    return {path.removeprefix(start) for path in others if path.startswith(start)} - {original}


def test_every_file_is_accounted_for(index: Index, pictures: Path) -> None:
    _, summary = json_lines("status", index=index)
    files = [path for path in pictures.rglob("*") if path.is_file() and not path.is_symlink()]
    hidden = [path for path in files if path.name.startswith(".")]
    assert sum(summary["statuses"].values()) == len(files) - len(hidden)
    assert summary["statuses"]["ok"] > 2500
    assert summary["statuses"].keys() & {"crashed", "timeout"} == set()


def test_unreadable_files_are_named_with_a_reason(index: Index, pictures: Path) -> None:
    rows, summary = json_lines("status", "--failed", index=index)
    assert summary["failed"] == len(rows) > 100
    reasons = {str(Path(row["path"]).relative_to(pictures)): row["error"] for row in rows}
    assert all(reasons.values())
    assert {f"imagededup/{name}" for name in CORRUPT} <= reasons.keys()
    empty_or_cut = [name for name in reasons if name.startswith("torture/pngsuite-bmpsuite/png/x")]
    assert empty_or_cut, "the broken ones of PngSuite begin with x"
    assert not [name for name in reasons if name.startswith(("caltech/", "ukbench400/", "pdq/"))]


def test_edits_of_the_bridge(found: Found, metric: str, pictures: Path) -> None:
    folder = pictures / "pdq"
    edits = {
        row["file"]: row["transformation"].removeprefix("same photo, ")
        for row in truth(folder)
        if row["group"] == "bridge" and row["original"]
    }
    hits = near(found, folder, "bridge-mods/aaa-orig.jpg")
    assert {edits[name] for name in hits & edits.keys()} == BRIDGE[metric]
    assert all(name.startswith(SAME_BRIDGE) for name in hits - edits.keys())


def test_modes_of_one_picture(found: Found, metric: str, pictures: Path) -> None:
    folder = pictures / "pdq" / "misc-images" / "modes"
    assert near(found, folder, "original.jpg") == MODES[metric]


def test_what_shows_other_things_does_not_pair_up(found: Found, pictures: Path) -> None:
    folder = pictures / "pdq"
    rows = truth(folder)
    alone = [row["file"] for row in rows if row["group"].startswith(("single_", "exif-rotn"))]
    assert len(alone) > 8
    for one, other in itertools.combinations(alone, 2):  # exif-rotn: four exposures, not one
        assert frozenset((f"{folder}/{one}", f"{folder}/{other}")) not in found


def test_edits_and_formats_of_imagededup(found: Found, metric: str, pictures: Path) -> None:
    folder = pictures / "imagededup"
    groups: dict[str, list[str]] = {}
    for row in truth(folder):
        groups.setdefault(row["group"], []).append(row["file"])
    hits: set[str] = set()
    for group, names in groups.items():
        original = f"base_images/{group}.jpg"
        near_original = near(found, folder, original) - {ALSO_UKBENCH00120}
        assert near_original <= set(names)
        hits |= near_original
    assert hits == EDITED[metric]


def test_all_orientations_show_upright_alike(found: Found, metric: str, pictures: Path) -> None:
    folder = pictures / "torture" / "exif-orientation-examples"
    groups: dict[str, list[str]] = {}
    for row in truth(folder):
        groups.setdefault(row["group"], []).append(f"{folder}/{row['file']}")
    assert sorted(len(names) for names in groups.values()) == [9, 9]
    for names in groups.values():
        distances = [found[frozenset(pair)] for pair in itertools.combinations(names, 2)]
        assert max(distances) <= {"thumb": 100, "signature": 0.1}[metric]


def test_the_graph_finds_what_the_scan_finds(index: Index, pictures: Path) -> None:
    asked = sorted((pictures / "pdq").rglob("*.jpg")) + sorted(
        (pictures / "caltech/llama").iterdir()
    )

    def rows(*words: str) -> tuple[list[Row], Row]:
        return json_lines("query", "-k", "50", *words, *asked, index=index)

    for metric in ("fingerprint", "thumb"):
        words = ("--metric", metric)
        by_graph, summary = rows("--engine", "graph", *words)
        assert (summary["engine"], summary["exact"]) == ("graph", False)
        assert summary["recall"] >= 0.999
        assert by_graph == rows("--exact", *words)[0]
