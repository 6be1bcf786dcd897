"""The picture sets of scripts/accuracy_sets.py: complete, deterministic, and as truth.csv says."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import accuracy_colours, accuracy_scenes, accuracy_sets, accuracy_writing
from scripts.accuracy_picture import generator, write
from scripts.accuracy_tones import FILES
from scripts.accuracy_unrelated import FAMILY, carved, copies
from tests.making import photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        photo(seed, (96, 72)).save(folder / f"{seed}.jpg")
    return folder


def truth(folder: Path) -> list[dict[str, str]]:
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_rule_says_what_is_held_out() -> None:
    held = [name for name in (f"{k}.jpg" for k in range(400)) if accuracy_sets.held_out(name)]
    assert 60 < len(held) < 140
    assert held[:4] == [name for name in held if accuracy_sets.held_out(name)][:4]


def test_others_has_every_edit_of_each_photo_and_the_files_it_names(
    photos: Path, tmp_path: Path
) -> None:
    words = ["--originals", "2", "--others", "1", "--photos", str(photos), "--all-photos"]
    for out in ("one", "two"):
        assert accuracy_sets.main(["others", str(tmp_path / out), *words]) == 0
    rows = truth(tmp_path / "one")
    names = {row["file"] for row in rows}
    assert names == {path.name for path in (tmp_path / "one").iterdir()} - {"truth.csv"}
    roles = Counter(row["role"] for row in rows)
    assert roles == {
        **dict.fromkeys([*accuracy_sets.EDITS, *FILES, "orig"], 2),
        "collage": 1,
        "other": 1,
    }
    assert Counter(row["group"] for row in rows)["g0000"] == len(accuracy_sets.EDITS) + 4
    for name in names:
        one, two = ((tmp_path / out / name).read_bytes() for out in ("one", "two"))
        assert one == two, name


def test_every_edit_changes_the_picture_but_turns_no_other_picture_out() -> None:
    image = photo(5, (96, 72))
    for role, edit in accuracy_sets.EDITS.items():
        edited = edit(image, generator("test", role))
        assert edited.mode == "RGB", role
        same = edited.size == image.size and np.array_equal(np.asarray(edited), np.asarray(image))
        assert not same, role


def test_frames_of_a_burst_are_near_and_only_every_second_pair_has_exif(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for k in range(2):
        grain = Image.fromarray(rng.integers(0, 256, (160, 240, 3), np.uint8))
        large = grain.resize((1400, 1000), Image.Resampling.BICUBIC)
        (tmp_path / "large").mkdir(exist_ok=True)
        large.save(tmp_path / "large" / f"scene{k}.jpg", quality=95)
    frames = list(accuracy_scenes.bursts([tmp_path / "large"], 2))
    assert [frame.group for frame in frames] == ["burst0000"] * 2 + ["burst0001"] * 2
    assert [frame.role for frame in frames] == ["burst-exif"] * 2 + ["burst-moved"] * 2
    one, two = (np.asarray(each.image, np.float32) for each in frames[:2])
    assert one.shape == two.shape
    assert np.abs(one - two).mean() > 2
    write(tmp_path / "out", frames)
    times = []
    for frame in frames[:2]:
        with Image.open(tmp_path / "out" / frame.name) as opened:
            part = opened.getexif().get_ifd(accuracy_scenes.EXIF)
            times.append((part[0x9003], part[0x9291]))
    assert times[0] != times[1]


def test_brackets_differ_in_exposure_and_say_so(tmp_path: Path) -> None:
    grain = np.random.default_rng(2).integers(60, 200, (160, 240, 3), np.uint8)
    (tmp_path / "large").mkdir()
    Image.fromarray(grain).resize((1400, 1000), Image.Resampling.BICUBIC).save(
        tmp_path / "large" / "a.png"
    )
    middle, dark, light = accuracy_scenes.brackets([tmp_path / "large"], 1)
    means = [np.asarray(each.image).mean() for each in (dark, middle, light)]
    assert means == sorted(means)
    assert means[2] - means[0] > 80
    exif = dark.options["exif"].get_ifd(accuracy_scenes.EXIF)
    assert exif[0x9204] == -2


def test_a_product_changes_its_colour_and_keeps_its_ground() -> None:
    variants = list(accuracy_colours.drawn(1))
    assert [each.role for each in variants] == [f"variant-{k}" for k in range(8)]
    assert {each.group for each in variants} == {"shirt000"}
    first, *rest = (np.asarray(each.image, np.float32) for each in variants)
    for other in rest:
        assert np.abs(first - other)[:40].mean() < 2
        assert np.abs(first - other).mean() > 2


def test_pictures_of_writing_are_their_own_groups_and_copies_belong_to_them() -> None:
    made = list(accuracy_writing.writing("receipts", 2, copies=True))
    assert Counter(each.group for each in made) == {"receipt0000": 5, "receipt0001": 5}
    assert {each.role for each in made} == {"receipt", *accuracy_writing.COPIES}
    one, two = (np.asarray(each.image, np.float32) for each in made if each.role == "receipt")
    assert np.abs(one - two).mean() > 2


def test_copies_are_found_in_all_orientations_and_other_pictures_are_not() -> None:
    seen = np.random.default_rng(3).normal(size=(4, 16, 16)).astype(np.float32)
    seen[2] = np.rot90(seen[0])
    seen[3] = seen[1][:, ::-1]
    seen /= np.linalg.norm(seen, axis=(1, 2), keepdims=True)
    assert copies(seen, np.zeros(4, np.bool_)) == [0, 1, 0, 1]
    seen[3] = seen[1] + 0.011 * np.random.default_rng(4).normal(size=(16, 16))  # at about .985
    seen /= np.linalg.norm(seen, axis=(1, 2), keepdims=True)
    assert copies(seen, np.zeros(4, np.bool_)) == [0, 1, 0, 3]
    assert copies(seen, np.ones(4, np.bool_)) == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("stem", "family"),
    [("flower-red-03", "flower"), ("tower12", "tower"), ("cat_left", "cat"), ("boat", "boat")],
)
def test_a_family_is_told_by_the_stem(stem: str, family: str) -> None:
    assert FAMILY.sub("", stem) == family


def test_pictures_are_carved_out_of_resource_files() -> None:
    inside = b"RIFF\x08\x00\x00\x00WEBPabcd"
    assert list(carved(b"qres\x00\x01" + inside + b"rest")) == [inside]
