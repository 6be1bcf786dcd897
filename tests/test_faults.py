"""tests/faults.py and tests/forking.py notice what they are there to notice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import faults, forking
from tests.faults import Album, Violation
from tests.forking import Done, Runner, cli

GOOD = Done(("verify",), 0, "", "", 0.1)


@pytest.fixture(scope="module")
def run() -> Iterator[Runner]:
    with Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, run: Runner) -> tuple[Album, Path]:
    """Return an archive in its second state and an index that is of the first."""
    folder = tmp_path_factory.mktemp("built")
    album, index = Album(folder / "album", 1), folder / "index"
    faults.must(run("build", album.folder, "--index", index), 0)
    album.change()
    return album, index


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"hung": True}, "it hangs"),
        ({"code": -11}, "it crashes"),
        ({"err": "Traceback (most recent call last)"}, "a traceback"),
        ({"left": (7,)}, "processes"),
        ({"code": 12}, "exit code 12"),
    ],
)
def test_what_must_never_be(changes: dict[str, Any], what: str) -> None:
    assert faults.must(GOOD, 0) is GOOD
    with pytest.raises(Violation, match=what):
        faults.must(replace(GOOD, **changes), 0)


def test_a_state_is_known_by_its_mark(tmp_path: Path) -> None:
    album = Album(tmp_path / "album", 1)
    album.change()
    near = {number: faults.near_probe(names) for number, names in album.states.items()}
    assert {faults.state_of(album, names) for names in near.values()} == {1, 2}
    one, two = near.values()
    for mixed in (one | two, two - {max(two)}, frozenset[str]()):
        with pytest.raises(Violation, match="no one state"):
            faults.state_of(album, mixed)
    on_disk = {path.name for path in album.folder.glob("*.png")}
    assert on_disk == album.names


def test_an_index_is_compared_with_the_folder(
    tmp_path: Path, run: Runner, built: tuple[Album, Path]
) -> None:
    album, index = built
    assert faults.whole_state(run, index, album) == 1
    with pytest.raises(Violation, match="the folder is in state 2"):
        faults.is_current(run, index, album)
    copy = shutil.copytree(index, tmp_path / "copy")
    for place in ("segments/left.parquet", "tmp/left", "staging/left.journal"):
        (copy / place).touch()
    assert len(faults.unreferenced(copy)) == 3
    assert faults.unreferenced(index) == []
    assert faults.index_is_whole(run, copy, album) == 1
    assert faults.unreferenced(copy) == []


def test_a_hang_and_a_kill_are_seen(
    run: Runner, built: tuple[Album, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, index = built
    assert run("verify", "--index", index, timeout_s=0.0001).hung
    assert run("verify", "--index", index).code == 0
    assert cli("verify", "--index", index, timeout_s=0.01).hung

    def kill(process: subprocess.Popen[bytes]) -> None:
        time.sleep(0.01)
        process.kill()

    assert cli("verify", "--index", index, meanwhile=kill).code == -signal.SIGKILL
    monkeypatch.setattr(forking, "LINGER_S", 0.2)
    kept = cli("verify", "--index", index, prefix=("sh", "-c", 'sleep 60 & exec "$@"', "sh"))
    assert (kept.code, len(kept.left)) == (0, 1)
