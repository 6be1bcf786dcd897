"""annidx.uploads and beside: what clients add is found at once, and stays whatever is killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import annidx
from annidx import Index
from annidx.beside import Both, verdict
from annidx.errors import PictureNotFound, UsageError
from annidx.images.extract import bytes_record
from annidx.model import File, Record
from annidx.store import history
from annidx.thresholds import Thresholds, chosen, pinned
from annidx.uploads import Uploads, upload_of
from tests.archive import RECORDS, index_of
from tests.commands.running import PICTURES, demo_build
from tests.making import record

REPOSITORY = Path(__file__).parents[1]
COFFEE = PICTURES / "2020-home" / "coffee.jpg"


def sent(number: int) -> Record:
    """Return a picture as a client sends it: of no file."""
    made = record(number)
    return replace(made, file=File(0, b"", 1234, 0, 0, 0))


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path)


def contents(uploads: Uploads) -> dict[str, tuple[dict[str, Any], dict[str, bytes]]]:
    """Return what is kept by key: payload and descriptors."""
    found = {}
    for key in uploads.rows:
        kept = uploads.record(key)
        upload = upload_of(kept.file.path)
        assert upload is not None
        assert upload.key == key
        found[key] = (dict(upload.payload), dict(kept.descriptors))
    return found


def test_what_is_put_is_there_and_what_is_deleted_is_gone(uploads: Uploads) -> None:
    assert (len(uploads), uploads.delete("a")) == (0, False)
    assert uploads.put("a", {"shop": 1}, sent(1)) is True
    assert uploads.put("b", {}, sent(2)) is True
    assert uploads.put("a", {"shop": 2}, sent(3)) is False
    expected = {"a": ({"shop": 2}, sent(3).descriptors), "b": ({}, sent(2).descriptors)}
    assert contents(uploads) == expected
    assert uploads.delete("a") is True
    assert uploads.delete("a") is False
    assert list(uploads.rows) == ["b"]
    with pytest.raises(PictureNotFound, match="'a'"):
        uploads.record("a")
    assert contents(Uploads(uploads.place.parent)) == {"b": ({}, sent(2).descriptors)}


def test_another_process_sees_it_when_it_looks_again(uploads: Uploads) -> None:
    other = Uploads(uploads.place.parent)
    uploads.put("a", {}, sent(1))
    assert len(other) == 0
    other.refresh()
    assert list(other.rows) == ["a"]
    other.put("b", {}, sent(2))  # which has seen it, too
    assert set(other.rows) == {"a", "b"}
    uploads.put("c", {}, sent(3))
    assert set(uploads.rows) == {"a", "b", "c"}


def test_a_long_history_is_a_dictionary(uploads: Uploads) -> None:
    """Whatever is put and deleted; few segments, few snapshots, numbers never used twice."""
    rng = random.Random(5)
    expected: dict[str, Any] = {}
    numbers = []
    for step in range(150):
        key = f"key {rng.randrange(40)}"
        if rng.random() < 0.3:
            assert uploads.delete(key) is (expected.pop(key, None) is not None)
        else:
            row = sent(step)
            assert uploads.put(key, {"step": step}, row) is (key not in expected)
            expected[key] = ({"step": step}, row.descriptors)
            numbers.append(uploads.record(key).image_id)
    assert contents(uploads) == expected
    assert contents(Uploads(uploads.place.parent)) == expected
    assert len(set(numbers)) == len(numbers)
    opened = uploads.opened
    assert opened is not None
    assert len(opened.manifest.segments) <= 12
    assert len(history.listing(uploads.place)) <= 150


@pytest.mark.parametrize("key", ["", "x" * 201, "é" * 101, "a\0b", "a\nb", "\ud800", "\u202e"])
def test_keys_that_are_none(uploads: Uploads, key: str) -> None:
    with pytest.raises(UsageError, match="a key has"):
        uploads.put(key, {}, sent(1))
    assert not uploads.place.exists()


@pytest.mark.parametrize("payload", [None, [], "x", {"a": "x" * 4096}], ids=str)
def test_payloads_that_are_none(uploads: Uploads, payload: Any) -> None:
    with pytest.raises(UsageError, match="payload"):
        uploads.put("a", payload, sent(1))


WRITER = """
    import sys
    from pathlib import Path
    from annidx.uploads import Uploads
    from tests.test_uploads import sent
    uploads = Uploads(Path(sys.argv[1]))
    for number in range(10_000):
        uploads.put(f"key {number}", {"number": number}, sent(number % 7))
        if number % 3 == 2:
            uploads.delete(f"key {number - 1}")
        print(number, flush=True)
"""


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """SIGKILL at any moment; the next process goes on where the last one was."""
    script = tmp_path / "writer.py"
    script.write_text(textwrap.dedent(WRITER))
    for at in (3, 7, 12):
        answered = -1
        index = tmp_path / str(at)
        index.mkdir()
        command = [sys.executable, str(script), str(index)]
        paths = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                answered = int(line)
                if answered == at:
                    break
            running.send_signal(signal.SIGKILL)
            rest = running.stdout.read().split()
        answered = int(rest[-1]) if rest else answered
        uploads = Uploads(index)
        there = {int(key.split()[1]) for key in uploads.rows}
        deleted = {number - 1 for number in range(answered + 1) if number % 3 == 2}
        expected = set(range(answered + 1)) - deleted
        # The one that was not answered may be there, and what it deletes with it may be gone.
        assert expected - {answered} <= there <= expected | {answered + 1}
        for number in there:
            kept = uploads.record(f"key {number}")
            assert kept.descriptors == sent(number % 7).descriptors
        uploads.put("after", {}, sent(1))
        assert set(Uploads(index).rows) == {*(f"key {number}" for number in there), "after"}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return index_of(tmp_path_factory.mktemp("beside") / "index", RECORDS)


def test_matches_of_both_come_in_one_order(index: Index, tmp_path: Path) -> None:
    uploads, asked = Uploads(tmp_path), replace(RECORDS[7], file=File(0, b"", 1, 0, 0, 0))
    for at in (7, 23, 40):
        uploads.put(f"k{at}", {"odd": at % 2 == 1}, replace(RECORDS[at], file=asked.file))
    both = Both(index, uploads.opened)
    near: dict[str, Any] = {"metric": "thumb", "cutoff": 500.0}
    (every,) = both.query([asked], payload={}, **near, k=None)
    (alone,) = index.query_many([asked], **near, k=None)
    added = [match for match in every if upload_of(match.raw_path)]
    assert len(every) == len(alone) + len(added)
    assert {match.raw_path.partition(b"\0")[0] for match in added} >= {
        b"upload:/k7",
        b"upload:/k23",
    }
    order = [(match.distance, match.raw_path) for match in every]
    assert order == sorted(order)
    for k in (1, 2, len(every) - 1, len(every)):
        (found,) = both.query([asked], payload={}, **near, k=k)
        assert found.matches == every.matches[:k]
        assert found.answer.complete is (k == len(every))


def test_payloads_filter(index: Index, tmp_path: Path) -> None:
    uploads, asked = Uploads(tmp_path), replace(RECORDS[7], file=File(0, b"", 1, 0, 0, 0))
    for at in (55, 7, 23):
        uploads.put(f"k{at}", {"shop": at % 5, "on": True}, replace(RECORDS[at], file=asked.file))
    both = Both(index, uploads.opened)
    for payload, keys in (
        ({"shop": 2}, {"k7"}),
        ({"on": True}, {"k7", "k23", "k55"}),
        ({"on": True, "shop": 3}, {"k23"}),
        ({"on": 2}, set()),
        ({"off": None}, set()),
    ):
        (found,) = both.query([asked], payload=payload, metric="thumb", cutoff=800, k=10)
        told = [upload_of(match.raw_path) for match in found]
        assert {each.key for each in told if each} == keys
        assert None not in told
    thumb = np.frombuffer(RECORDS[7].descriptors["thumb"], np.uint8)[None]
    (found,) = both.query_vectors(thumb, payload={"on": True}, k=1)
    assert (found[0].distance, found[0].raw_path[:10]) == (0.0, b"upload:/k7")


def test_an_upload_is_not_its_own_neighbour(index: Index, tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    for key in ("one", "two"):
        uploads.put(key, {}, replace(RECORDS[7], file=File(0, b"", 1, 0, 0, 0)))
    both, asked = Both(index, uploads.opened), [uploads.record("one")]
    (found,) = both.query(asked, payload={}, metric="thumb", k=None, cutoff=0)
    keys = [upload.key for match in found if (upload := upload_of(match.raw_path))]
    assert keys == ["two"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the shared index over the shipped pictures, to add to."""
    copy = tmp_path_factory.mktemp("demo copy") / "index"
    return Path(shutil.copytree(demo_build(tmp_path_factory)[0], copy))


def test_chances_are_those_of_the_index(pictures: Path) -> None:
    index, uploads = annidx.open(pictures), Uploads(pictures)
    coffee = bytes_record(COFFEE.read_bytes())
    uploads.put("copy", {}, coffee)
    uploads.put("mirrored", {}, bytes_record(COFFEE.with_name("coffee-mirrored.jpg").read_bytes()))
    (found,) = Both(index, uploads.opened).query([coffee], payload={})
    told = {match.raw_path: (match.chance, match.kind) for match in found}
    by_key = {upload.key: told[path] for path in told if (upload := upload_of(path))}
    assert by_key["copy"] == told[os.fsencode(COFFEE)] == (0.0, "identical")
    mirrored = told[os.fsencode(COFFEE.with_name("coffee-mirrored.jpg"))]
    assert by_key["mirrored"][1] == mirrored[1] == "edited"
    assert by_key["mirrored"][0] == pytest.approx(mirrored[0])


def test_thresholds_stay_pinned_until_others_are_given(pictures: Path) -> None:
    index = annidx.open(pictures)
    place = Uploads(pictures).place
    wanted = chosen(index, None, None, None)
    assert wanted == ("fingerprint", 1e-6, 1.0)
    first = pinned(index, place, wanted)
    assert (first.snapshot, first.measured) == (1, index.manifest.chance)
    index.snapshot.manifest = replace(index.manifest, number=9, chance=None)
    assert pinned(index, place, wanted) == first
    assert pinned(index, place, ("thumb", 50.0, 200.0)).snapshot == 9
    (place / "thresholds.json").write_text("{")
    assert pinned(index, place, wanted).snapshot == 9
    for low, high in ((2.0, 1.0), (-1.0, 1.0)):
        with pytest.raises(UsageError, match="0 <= reject <= review"):
            chosen(index, None, low, high)


def test_verdicts(index: Index) -> None:
    asked = replace(RECORDS[7], file=File(0, b"", 1, 0, 0, 0))
    (found,) = index.query_many([asked], metric="thumb", cutoff=500, k=3)
    nearest = found[0].distance
    assert nearest == 0
    farther = replace(found, matches=found.matches[1:])
    apart = farther[0].distance
    assert apart > 0

    def judged(reject: float, review: float) -> str:
        return verdict(farther, Thresholds("thumb", reject, review, 1))

    assert judged(apart, apart + 1) == "reject"
    assert judged(apart - 0.01, apart) == "review"
    assert judged(apart - 0.02, apart - 0.01) == "accept"
    assert verdict(replace(found, matches=()), Thresholds("thumb", 1e9, 1e9, 1)) == "accept"
