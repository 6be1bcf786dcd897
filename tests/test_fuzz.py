"""A short run of scripts/fuzz_extract.py, and what it would notice."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from annidx.descriptors import DEFAULT_DESCRIPTORS, DESCRIPTORS
from annidx.images import extract
from annidx.model import STATUSES, File, Record
from annidx.workers import Lost
from scripts import fuzz_extract
from scripts.fuzz_extract import Fuzzer, Report, Seed

FILES = 250
PICTURES = Path(__file__).parents[1] / "data" / "pictures"


@pytest.fixture(scope="module")
def corpus() -> list[Seed]:
    """Return the shipped pictures, and one of them in every format."""
    return fuzz_extract.seeds(PICTURES)


def task(name: bytes = b"a.jpg") -> extract.Task:
    return extract.Task(file=File(0, name, 1000, 0, 1, 1), root=b"/nowhere")


def record(**changes: object) -> Record:
    stored = {name: bytes(DESCRIPTORS[name].width) for name in DEFAULT_DESCRIPTORS}
    good = Record(task().file, 0, "ok", width=4, height=3, format="JPEG", descriptors=stored)
    return replace(good, **changes)  # type: ignore[arg-type]


def test_no_file_stops_the_extraction(
    corpus: list[Seed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    fuzzer = Fuzzer(corpus, tmp_path, tmp_path.parent / "findings", seed=5, timeout_s=60)
    report = fuzzer.run(files=FILES)
    assert report.wrong == []
    assert report.lost == []
    assert report.files == FILES
    assert {"ok", "truncated", "unreadable"} <= report.statuses.keys() <= STATUSES.keys()


def test_every_format_is_among_the_seeds(corpus: list[Seed]) -> None:
    kinds = Counter(seed.suffix for seed in corpus)
    assert fuzz_extract.SAVED_AS.keys() <= kinds.keys()
    assert kinds[".jpg"] > 40  # the shipped ones
    assert all(0 < len(seed.data) <= fuzz_extract.MAX_SEED_BYTES for seed in corpus)


def test_a_file_is_made_of_its_seed_and_number(corpus: list[Seed]) -> None:
    first = [fuzz_extract.mutated(corpus, 1, number) for number in range(200)]
    assert first == [fuzz_extract.mutated(corpus, 1, number) for number in range(200)]
    assert first != [fuzz_extract.mutated(corpus, 2, number) for number in range(200)]
    real = {seed.data for seed in corpus}
    assert sum(data in real for _, data in first) < 10  # few mutations change nothing
    assert len({data for _, data in first}) > 190


def test_checksums_of_a_png_are_repaired(corpus: list[Seed]) -> None:
    png = bytearray(next(seed.data for seed in corpus if seed.suffix == ".png"))
    right = bytes(png)
    png[20:24] = (9).to_bytes(4, "big")  # the height
    fuzz_extract.repair_png(png)
    assert png[29:33] == zlib.crc32(png[12:29]).to_bytes(4, "big") != right[29:33]
    assert png[33:] == right[33:]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (record(status="odd", error="broken", descriptors={}), "status is 'odd'"),
        (record(file=task(b"b.jpg").file), "it is of b'b.jpg'"),
        (record(descriptors={}), "descriptors have {} bytes"),
        (record(descriptors={"thumb": bytes(1199)}), "'thumb': 1199"),
        (record(status="unreadable", error="broken"), "descriptors have"),
        (record(status="unreadable", descriptors={}), "no reason"),
        (record(width=0), "size is 0 x 3"),
        (record(orientation=9), "orientation is 9"),
        (record(camera="\udcff"), "not UTF-8"),
        (record(pixel_hash=b""), "hashes"),
        (extract.Vanished(task().file), "Vanished instead of a record"),
    ],
)
def test_a_wrong_result_is_noticed(outcome: extract.Outcome, said: str) -> None:
    assert fuzz_extract.wrong_with(task(), record()) == []
    (found,) = fuzz_extract.wrong_with(task(), outcome)
    assert found.startswith("a.jpg: ")
    assert said in found


def test_an_exception_in_the_parent_is_wrong(corpus: list[Seed], tmp_path: Path) -> None:
    class Breaking(Fuzzer):
        def task(self, number: int) -> extract.Task:
            if number == 20:
                message = "no more"
                raise RuntimeError(message)
            return super().task(number)

    report = Breaking(corpus, tmp_path, tmp_path / "findings").run(files=40)
    assert [text for text in report.wrong if "RuntimeError: no more" in text]
    assert [text for text in report.wrong if "no result: " in text]


def test_what_a_worker_was_lost_on_is_kept(corpus: list[Seed], tmp_path: Path) -> None:
    place, findings = tmp_path / "place", tmp_path / "findings"
    place.mkdir()
    fuzzer = Fuzzer(corpus, place, findings)
    lost = fuzzer.task(7)
    outcome = fuzzer.lose(lost, Lost("crashed", "worker killed by signal 11 (SIGSEGV)"))
    assert isinstance(outcome, Record)
    assert (outcome.status, outcome.file) == ("crashed", lost.file)
    name = os.fsdecode(lost.file.path)
    assert (findings / name).read_bytes() == fuzz_extract.mutated(corpus, 1, 7)[1]
    assert "SIGSEGV" in (findings / "reasons.txt").read_text(encoding="utf-8")


def test_what_is_left_behind_is_noticed(corpus: list[Seed], tmp_path: Path) -> None:
    fuzzer = Fuzzer(corpus, tmp_path, tmp_path / "findings")
    (tmp_path / "pymp-socket").touch()
    assert fuzzer.left_behind(1000) == []
    (tmp_path / "core").touch()
    assert fuzzer.left_behind(1000) == ["core is left behind in TMPDIR"]


def test_steady_growth_is_a_leak() -> None:
    rising = [(files, 100.0 + files / 10) for files in range(1000)]
    # What one picture takes for a moment, and what the first ones leave behind, is none.
    swinging = [(files, 100.0 + 300 * (files % 7 > 1) + min(files, 50)) for files in range(1000)]
    assert fuzz_extract.growth_mb(rising) == pytest.approx(50, abs=1)
    assert fuzz_extract.growth_mb(swinging) == 0
    assert fuzz_extract.growth_mb(rising[:39]) is None
    report = Report(memory={os.getpid(): rising, 1: swinging})
    assert fuzz_extract.leaks(report) == ["a leak: a parent has grown by 50 MB"]


def test_every_mutation_survives_an_empty_and_a_short_file() -> None:
    seeds = [Seed("", data) for data in (b"x", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF89a")]
    for number in range(2000):
        fuzz_extract.mutated(seeds, 3, number)
