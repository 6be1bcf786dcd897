"""Damage to the files of an index: a short run of scripts/soak_damage.py, and the real command."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import soak_damage
from scripts.soak_damage import Subject, rows
from tests.damaging import Damage, damages, sample, storms
from tests.faults import Tally, must, strace
from tests.forking import Runner, cli

SEED = 5
FLIPS = 2
SAMPLE = 20
STORMS = 3


@pytest.fixture(scope="module")
def run() -> Iterator[Runner]:
    with Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def subject(run: Runner) -> Iterator[Subject]:
    strace()
    with tempfile.TemporaryDirectory() as folder:  # another user may not look into tmp_path
        Path(folder).chmod(0o755)
        yield Subject(Path(folder), SEED, run)


@pytest.fixture(scope="module")
def all_damages(subject: Subject) -> list[Damage]:
    return list(damages(subject.template, subject.other, FLIPS, SEED))


def test_what_is_damaged(subject: Subject, all_damages: list[Damage]) -> None:
    """Every file, and there is one of each kind."""
    folders = {file.partition("/")[0] for file in subject.files}
    assert folders >= {"annidx.json", "snapshots", "segments", "graphs", "staging", "locks"}
    assert {each.file for each in all_damages} == set(subject.files)
    assert len(subject.truth) == 3
    assert len({str(answers) for answers in (*subject.truth.values(), subject.mended)}) == 4


def test_a_sample_of_damages(subject: Subject, all_damages: list[Damage]) -> None:
    tally = Tally()
    chosen = sample(all_damages, SAMPLE, SEED, subject.in_use)
    for damage in (*chosen, *storms(subject.template, STORMS, SEED)):
        soak_damage.attempt(subject, damage, tally)
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.counts["tried"] == SAMPLE + STORMS


@pytest.mark.parametrize(
    "pattern",
    [
        *("annidx.json", "snapshots/*", "segments/*", "graphs/*.hnsw", "graphs/*.json"),
        *("staging/*", "locks/*.lock", "locks/*.json"),
    ],
)
def test_a_fifo_in_the_place_of_a_file(
    subject: Subject, all_damages: list[Damage], pattern: str
) -> None:
    """Whoever opens it waits for ever, unless he asks before."""
    here = [each for each in all_damages if Path(each.file).match(pattern)]
    fifos = [each for each in here if each.kind == "a fifo"]
    fifos.sort(key=lambda each: each.file in subject.in_use)
    soak_damage.examine(subject, fifos[-1], Tally())


@pytest.mark.parametrize("pattern", ["annidx.json", "snapshots/*", "segments/*", "graphs/*.hnsw"])
def test_the_command_itself(subject: Subject, all_damages: list[Damage], pattern: str) -> None:
    """In a process of its own: a right answer or a named error, and a build that mends it."""
    here = [each for each in all_damages if Path(each.file).match(pattern)]
    last = [each for each in here if each.file in subject.in_use] or here
    damage = next(each for each in reversed(last) if "flipped" in each.kind)
    subject.begin(damage)
    words = ("--json", "--index", subject.index)
    asked = ("query", subject.album.probe, "-k", "1000", "--engine", "graph")
    done = must(cli(*asked, *words), 0, 10, 12, 13)
    if done.code:
        assert Path(damage.file).name in done.err
    else:
        assert rows(done) == subject.truth[done.summary["snapshot"]][0]
    must(cli("build", *words), 0)
    must(cli("verify", *words), 0)
    mended = must(cli(*asked, *words), 0)
    assert rows(mended) == subject.mended[0]
