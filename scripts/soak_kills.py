"""Kill builds at random moments, over and over, and see what becomes of the index.

An archive changes from round to round; each build of it is killed (the process alone, or with all
its workers; one in five by SIGTERM) after a random share of the time that a build takes, very early
and very late ones included. After each: the index is whole, answers from one snapshot, which is no
older than before, and no process is left. In the end a build must bring all up to date.

    python -m scripts.soak_kills [--rounds 200] [--seed 1] [--json]

Exit codes: 0 all survived, 1 a violation.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults import Album, Tally, Violation, index_is_whole, must, whole_state
from tests.forking import Runner, cli

ANEW = 25
"""After so many rounds it begins without an index."""
TERM_SHARE = 0.2
"""Of the builds that are asked to end, as systemd does when the machine is shut down."""
WHOLE = 10
"""After so many rounds the next build is let run, and must leave nothing over."""


@dataclass(slots=True)
class Kill:
    """Kills a build when so many seconds have gone by.

    Attributes
    ----------
    after_s : float
    group : bool
        Its workers as well.
    number : signal.Signals
    """

    after_s: float
    group: bool
    number: signal.Signals = signal.SIGKILL

    def __call__(self, process: subprocess.Popen[bytes]) -> None:
        """Wait, and kill what is still there."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.after_s)
            return
        with contextlib.suppress(ProcessLookupError):
            if self.group:
                os.killpg(process.pid, self.number)
            else:
                os.kill(process.pid, self.number)

    def __str__(self) -> str:
        whom = "all" if self.group else "parent"
        return f"{self.number.name} for {whom} after {self.after_s:.3f} s"


def moment(rng: random.Random, whole_s: float) -> float:
    """Return when to kill: anywhere, at the very start, or about the end."""
    ranges = [(0.0, 1.0), (0.0, 1.0), (0.3, 0.9), (0.0, 0.05), (0.85, 1.1)]
    return whole_s * rng.uniform(*rng.choice(ranges))


def measured(album: Album, index: Path) -> float:
    """Return the seconds that a build takes; the faster of two."""
    seconds = []
    for _ in range(2):
        shutil.rmtree(index, ignore_errors=True)
        done = must(cli("build", album.folder, "--workers", "2", "--index", index), 0)
        seconds.append(done.seconds)
    shutil.rmtree(index)
    return min(seconds)


def kill_once(run: Runner, index: Path, album: Album, kill: Kill) -> tuple[int, int]:
    """Kill a build; return its exit code and the state that there is after it."""
    words = ("build", album.folder, "--workers", "2", "--index", index)
    done = cli(*words, "--rebuild-graphs", meanwhile=kill)
    if done.code == -kill.number:
        done = replace(done, err="")  # a worker that was just being started may be surprised
    must(done, 0, -kill.number)
    return done.code, whole_state(run, index, album, empty=True)


def soak(folder: Path, run: Runner, *, rounds: int, seed: int) -> Tally:
    """Kill so many builds."""
    tally, rng = Tally(), random.Random(seed)
    album, index = Album(folder / "album", seed, pictures=16), folder / "index"
    whole_s = measured(album, index)
    last = 0
    for number in range(rounds):
        album.change()
        number_of = signal.SIGTERM if rng.random() < TERM_SHARE else signal.SIGKILL
        kill = Kill(moment(rng, whole_s), rng.random() < 0.5, number_of)
        tally.counts["tried"] += 1
        began = time.monotonic()
        try:
            code, state = kill_once(run, index, album, kill)
            if state < last or (code == 0 and state != album.number):
                message = f"state {state} after {last}, exit code {code}"
                raise Violation(message)
            tally.counts["too late" if code == 0 else "killed"] += 1
            new = state == album.number
            tally.counts[f"survived {'new' if new else 'old' if state else 'without'}"] += 1
            last = state
            if number % WHOLE == WHOLE - 1 or number == rounds - 1:
                index_is_whole(run, index, album, empty=True)
                last = album.number
        except Violation as error:
            took = time.monotonic() - began
            tally.violations.append(f"round {number}, {kill} ({took:.1f} s): {error}")
            shutil.rmtree(index, ignore_errors=True)
            last = 0
        if number % ANEW == ANEW - 1:
            shutil.rmtree(index, ignore_errors=True)
            last = 0
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, Runner() as run:
        tally = soak(Path(folder), run, rounds=args.rounds, seed=args.seed)
    return tally.report(args.json)


if __name__ == "__main__":
    sys.exit(main())
