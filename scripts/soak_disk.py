"""Take the disk away from under a build: no space left, and the index removed while it is written.

Without space (needs root, for a tmpfs of 8 MB): a file fills the disk up to a random rest, and the
build after it must name the error and leave the old snapshot; when there is space again it
succeeds. Removed: the index folder is renamed or removed at a random moment of a build, which must
end by itself with a named error and leave no process.

    python -m scripts.soak_disk [--rounds 100] [--seed 1] [--json]

Exit codes: 0 all survived, 1 a violation.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.soak_kills import measured, moment
from tests.faults import Album, Tally, Violation, index_is_whole, must, whole_state
from tests.forking import Runner, cli

SIZE = 8_000_000
FULL = ("No space left on device", "is the disk full?")


@contextlib.contextmanager
def small_disk(place: Path, size: int = SIZE) -> Iterator[Path]:
    """Mount a tmpfs of so many bytes at a folder; needs root."""
    place.mkdir()
    options = f"size={size},mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def read_only(place: Path, on: bool) -> None:
    """Make what is mounted at a folder read-only, or writable again."""
    options = f"remount,{'ro' if on else 'rw'}"
    subprocess.run(["mount", "-o", options, str(place)], check=True, capture_output=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill a disk with one file up to so many bytes; return the file."""
    filler = disk / "filler"
    with filler.open("wb") as handle:
        space = os.statvfs(disk)
        os.posix_fallocate(handle.fileno(), 0, max(1, space.f_bavail * space.f_frsize - leave))
    return filler


def full(run: Runner, index: Path, album: Album, leave: int) -> bool:
    """Build where so many bytes are left; return whether they were enough."""
    before = whole_state(run, index, album)
    filler = fill(index.parent, leave)
    words = ("build", album.folder, "--workers", "1", "--rebuild-graphs")
    done = must(run(*words, "--index", index), 0, 1)
    state = whole_state(run, index, album)
    filler.unlink()
    named = any(words in done.err for words in FULL)
    if done.code == 1 and (not named or state != before):
        message = f"state {state} after {before}: {done}"
        raise Violation(message)
    index_is_whole(run, index, album)
    return done.code == 0


def fill_up(folder: Path, run: Runner, tally: Tally, *, rounds: int, seed: int) -> None:
    """Build so often on a disk that is nearly full."""
    rng, album = random.Random(seed), Album(folder / "album", seed)
    with small_disk(folder / "disk") as disk:
        index = disk / "index"
        for number in range(rounds):
            leave = rng.choice((0, rng.randrange(40_000), rng.randrange(200_000)))
            tally.counts["tried"] += 1
            try:
                if number % 5 == 0:  # what a build wrote remains until snapshots are pruned
                    shutil.rmtree(index, ignore_errors=True)
                    must(run("build", album.folder, "--index", index), 0)
                album.change()
                enough = full(run, index, album, leave)
                tally.counts["enough space" if enough else "survived old"] += 1
            except Violation as error:
                tally.violations.append(f"{leave} bytes left: {error}")
                (disk / "filler").unlink(missing_ok=True)
                shutil.rmtree(index, ignore_errors=True)
                must(run("build", album.folder, "--index", index), 0)


def take_away(run: Runner, index: Path, album: Album, rng: random.Random, whole_s: float) -> str:
    """Rename or remove an index while it is built; return what was done and how it ended."""
    away, after_s = index.with_name("away"), moment(rng, whole_s)
    renamed = rng.random() < 0.5

    def meanwhile(process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        with contextlib.suppress(FileNotFoundError):
            if renamed:
                index.rename(away)
            else:
                shutil.rmtree(index, ignore_errors=True)

    words = ("build", album.folder, "--workers", "2", "--rebuild-graphs", "--index", index)
    done = must(cli(*words, meanwhile=meanwhile), 0, 1, 10, 12)
    if done.code and not all(line.startswith("annidx: ") for line in done.err.splitlines() or [""]):
        message = f"not a line that names the error: {done}"
        raise Violation(message)
    if away.exists():
        index_is_whole(run, away, album, empty=True)
        shutil.rmtree(away)
    # Whatever the build made again after its index had gone, the next one copes with it.
    index_is_whole(run, index, album, empty=True)
    return f"{'renamed' if renamed else 'removed'}, {'named error' if done.code else 'ended well'}"


def remove(folder: Path, run: Runner, tally: Tally, *, rounds: int, seed: int) -> None:
    """Take the index away from so many builds."""
    rng, album = random.Random(seed), Album(folder / "album", seed)
    index = folder / "index"
    whole_s = measured(album, index)
    for number in range(rounds):
        tally.counts["tried"] += 1
        album.change()
        try:
            tally.counts[take_away(run, index, album, rng, whole_s)] += 1
        except Violation as error:
            tally.violations.append(f"round {number} of taking away: {error}")
            for place in (index, index.with_name("away")):
                shutil.rmtree(place, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder, Runner() as run:
        for name, soak in (("full", fill_up), ("removed", remove)):
            (Path(folder) / name).mkdir()
            soak(Path(folder) / name, run, tally, rounds=args.rounds, seed=args.seed)
    return tally.report(args.json)


if __name__ == "__main__":
    sys.exit(main())
