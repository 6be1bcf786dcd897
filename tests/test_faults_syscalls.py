"""Real faults, by strace, in the system calls of a build, and the order in which it makes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from scripts import soak_syscalls
from scripts.soak_syscalls import NAMES, SYNCS, WRITES, Call, Place
from tests.faults import Album, index_is_whole, must, strace
from tests.forking import Runner, cli

SEED = 7
LIMIT = 14


@pytest.fixture(scope="module")
def run() -> Iterator[Runner]:
    with Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, run: Runner) -> Place:
    strace()
    return Place(tmp_path_factory.mktemp("place"), SEED, run)


def test_faults_in_a_sample_of_the_calls(tmp_path: Path, run: Runner) -> None:
    tally = soak_syscalls.soak(tmp_path, run, seed=SEED, limit=LIMIT)
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.counts["survived old"] + tally.counts["survived new"] == LIMIT


def test_what_is_tried(place: Place) -> None:
    """Every fsync, every write into the index, every rename, link and unlink of a build."""
    calls = place.calls("first")
    assert {call.name for call in calls} >= {"fsync", "write", "rename", "link", "unlink"}
    names = [fault.name for fault in soak_syscalls.faults(calls, str(place.index), False)]
    assert len(names) == len(set(names))
    for call in calls:
        assert call.name not in SYNCS or f"EIO at {call.name} {call.number}" in names
        assert call.name not in NAMES or f"SIGKILL at {call.name} {call.number}" in names
        if call.name in WRITES and str(place.index) in call.arguments:
            assert f"ENOSPC at {call.name} {call.number}" in names
            assert f"ENOSPC from {call.name} {call.number} on" in names


@pytest.mark.parametrize(
    "inject", ["fsync:error=EIO:when=2", "link:signal=KILL:when=1", "write:error=ENOSPC:when=9+"]
)
def test_the_command_itself_with_workers(tmp_path: Path, run: Runner, inject: str) -> None:
    """In a process of its own, all its processes under strace, and nothing is left of them."""
    album, index = Album(tmp_path / "album", SEED), tmp_path / "index"
    must(run("build", album.folder, "--index", index), 0)
    album.change()
    prefix = (strace(), "-f", "-qq", "-o", str(tmp_path / "log"), "-e", f"inject={inject}")
    done = cli("build", "--workers", "1", "--rebuild-graphs", "--index", index, prefix=prefix)
    must(done, -9 if "KILL" in inject else 1)
    assert index_is_whole(run, index, album) == 1


# The order of calls


def sealed(calls: Sequence[Call]) -> Iterator[tuple[int, str, Path]]:
    """Yield (place, source, target) of what is renamed into segments/ and graphs/."""
    for at, call in enumerate(calls):
        if call.name.startswith("rename"):
            source, target = re.findall(r'"([^"]+)"', call.arguments)
            if Path(target).parent.name in ("segments", "graphs"):
                yield at, source, Path(target)


def published(calls: Sequence[Call]) -> tuple[int, str, Path]:
    """Return (place, source, target) of the link that publishes."""
    (found,) = [
        (at, *re.findall(r'"([^"]+)"', call.arguments))
        for at, call in enumerate(calls)
        if call.name.startswith("link") and "/snapshots/" in call.arguments
    ]
    return found[0], found[1], Path(found[2])


def touching(calls: Sequence[Call], names: Sequence[str], path: str | Path) -> list[int]:
    """Return the places of calls on an open file or folder."""
    return [
        at
        for at, call in enumerate(calls)
        if call.name in names and f"<{path}>" in call.arguments.split(",")[0]
    ]


@pytest.mark.parametrize("scenario", soak_syscalls.BUILDS)
def test_every_file_is_synced_before_it_has_its_name(place: Place, scenario: str) -> None:
    """File, rename, folder; and both before the manifest."""
    calls = place.calls(scenario)
    manifest_at, _, _ = published(calls)
    renamed = list(sealed(calls))
    assert {path.suffix for _, _, path in renamed} == {".parquet", ".hnsw", ".json"}
    for at, source, target in renamed:
        written, synced = (touching(calls, names, source) for names in (WRITES, SYNCS))
        assert written, f"{source} was never written to"
        assert synced, f"{source} was never synced"
        assert written[-1] < synced[-1] < at, f"{source} was renamed before it was synced"
        folder = [each for each in touching(calls, SYNCS, target.parent) if each > at]
        assert folder, f"{target.parent} was not synced after {target.name}"
        assert folder[0] < manifest_at, f"the manifest came before {target.name} was safe"
        assert touching(calls, WRITES, target) == [], f"{target} was written to"


@pytest.mark.parametrize("scenario", soak_syscalls.BUILDS)
def test_the_manifest_is_synced_before_and_its_folder_after(place: Place, scenario: str) -> None:
    calls = place.calls(scenario)
    at, source, target = published(calls)
    written, synced = (touching(calls, names, source) for names in (WRITES, SYNCS))
    assert synced, "the manifest was never synced"
    assert written[-1] < synced[-1] < at
    folder = touching(calls, SYNCS, target.parent)
    assert len(folder) == 1
    assert folder[0] > at
    gone = [
        number
        for number, call in enumerate(calls)
        if call.name.startswith("unlink") and "/staging/" in call.arguments
        if call.arguments.endswith("= 0")
    ]
    late = [number for number in gone if number > at]
    assert late, "the journal is still there"
    assert min(late) > folder[0], "the journal went before the manifest was safe"
