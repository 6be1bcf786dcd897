"""Readers and writers beside each other: a short run of scripts/soak_readers.py, two builders."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import annidx
from annidx.cli import VERBS
from scripts import soak_readers
from tests.faults import Album, index_is_whole, must, near_probe, whole_state
from tests.forking import Done, Runner, cli

SEED = 9
PUBLISHES = 6
READERS = 4


@pytest.fixture(scope="module")
def run() -> Iterator[Runner]:
    with Runner() as runner:
        yield runner


def test_readers_while_snapshots_are_published(tmp_path: Path, run: Runner) -> None:
    tally = soak_readers.soak(
        tmp_path, run, publishes=PUBLISHES, readers=READERS, seed=SEED, verbs=VERBS
    )
    assert not tally.violations, "\n".join(tally.violations[:10])
    assert tally.counts["published"] == PUBLISHES
    assert tally.counts["answers"] >= READERS * PUBLISHES


def test_the_second_of_two_builders_is_refused(tmp_path: Path, run: Runner) -> None:
    """The first is stopped while it holds the lock, so that it is the first for sure."""
    album, index = Album(tmp_path / "album", SEED), tmp_path / "index"
    must(run("build", album.folder, "--index", index), 0)
    album.change()
    refused: list[Done] = []

    def meanwhile(first: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        note = index / "locks" / "writer.json"
        while not (note.exists() and str(first.pid) in note.read_text()):
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        first.send_signal(signal.SIGSTOP)
        try:
            refused.append(cli("build", "--index", index))
            assert f"process {first.pid}" in refused[0].err
            assert whole_state(run, index, album) == 1
        finally:
            first.send_signal(signal.SIGCONT)

    must(cli("build", "--index", index, meanwhile=meanwhile), 0)
    must(refused[0], 11)
    assert refused[0].err.count("\n") == 1
    assert index_is_whole(run, index, album) == 2


def test_builders_that_start_together(tmp_path: Path, run: Runner) -> None:
    """Of those that do not wait at least one succeeds; those that wait all do."""
    album, index = Album(tmp_path / "album", SEED), tmp_path / "index"
    with ThreadPoolExecutor(3) as threads:
        for words, codes in (((), (0, 11)), (("--lock-wait", "60"), (0,))):
            album.change()
            command = ("build", album.folder, "--workers", "1", "--index", index, *words)
            started = [threads.submit(cli, *command) for _ in range(3)]
            done = [must(each.result(), *codes) for each in started]
            assert 0 in [each.code for each in done]
            assert index_is_whole(run, index, album) == album.number


def test_a_rollback_under_a_reader(tmp_path: Path, run: Runner) -> None:
    """Who holds a snapshot keeps it; who opens the index anew gets the state before."""
    album, index = Album(tmp_path / "album", SEED), tmp_path / "index"
    numbers = []
    for _ in range(2):
        numbers.append(soak_readers.publish(run, index, album))
    first, second = (near_probe(album.states[album.number - back]) for back in (1, 0))
    held = annidx.open(index)
    assert neighbours(held, album) == second
    back = must(run("rollback", "--index", index, "--json"), 0).summary["snapshot"]
    assert back == numbers[-1] + 1
    assert neighbours(held, album) == second
    assert held.manifest.number == numbers[-1]
    opened = annidx.open(index)
    assert opened.manifest.number == back
    assert neighbours(opened, album) == first
    assert whole_state(run, index, album) == album.number - 1
    assert index_is_whole(run, index, album) == album.number - 1  # the build goes on from there
    soak_readers.publish(run, index, album)
    must(run("rollback", "--index", index), 0)
    assert whole_state(run, index, album) == album.number - 1  # one back, whatever was before


def neighbours(index: annidx.Index, album: Album) -> frozenset[str]:
    return frozenset(Path(each.path).name for each in index.query(album.probe, k=None))
