"""A disk that fills up, one that is read-only, and an index that is removed while it is built.

The first two need to mount a tmpfs: without root they are skipped, but in CI they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import soak_disk
from scripts.soak_disk import read_only, small_disk
from tests.faults import Album, Tally, asked, index_is_whole, missing, must, near_probe, whole_state
from tests.forking import Runner, cli

SEED = 3


@pytest.fixture(scope="module")
def run() -> Iterator[Runner]:
    with Runner() as runner:
        yield runner


@pytest.fixture
def root() -> None:
    """Skip without root, but fail in CI."""
    if os.geteuid():
        missing("needs root to mount a tmpfs")


@pytest.mark.usefixtures("root")
def test_a_disk_that_fills_up(tmp_path: Path, run: Runner) -> None:
    tally = Tally()
    soak_disk.fill_up(tmp_path, run, tally, rounds=5, seed=SEED)
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.counts["survived old"] >= 2


@pytest.mark.usefixtures("root")
def test_a_read_only_file_system(tmp_path: Path, run: Runner) -> None:
    """Whoever asks is answered; a build says why it cannot."""
    album = Album(tmp_path / "album", SEED)
    with small_disk(tmp_path / "disk") as disk:
        index = disk / "index"
        must(run("build", album.folder, "--index", index), 0)
        album.change()
        read_only(disk, True)
        try:
            assert whole_state(run, index, album) == 1
            must(run("status", "--index", index), 0)
            done = must(cli("query", album.probe, "--json", "--index", index), 0)
            assert asked(done) == near_probe(album.states[1])
            for call in (run, cli):
                failed = must(call("build", album.folder, "--index", index), 1)
                assert failed.err.startswith("annidx: ")
                assert failed.err.count("\n") == 1
                assert "Read-only file system" in failed.err
                assert str(index) in failed.err
            assert whole_state(run, index, album) == 1
        finally:
            read_only(disk, False)
        assert index_is_whole(run, index, album) == 1


def test_an_index_that_is_taken_away(tmp_path: Path, run: Runner) -> None:
    tally = Tally()
    soak_disk.remove(tmp_path, run, tally, rounds=3, seed=SEED)
    assert not tally.violations, "\n".join(tally.violations)
