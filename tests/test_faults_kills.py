"""Builds that are killed at random moments: a short run of scripts/soak_kills.py."""

from __future__ import annotations

from pathlib import Path

from scripts import soak_kills
from tests.forking import Runner

ROUNDS = 10


def test_builds_that_are_killed(tmp_path: Path) -> None:
    with Runner() as run:
        tally = soak_kills.soak(tmp_path, run, rounds=ROUNDS, seed=4)
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.counts["tried"] == tally.counts["killed"] + tally.counts["too late"] == ROUNDS
    assert tally.counts["killed"] >= ROUNDS // 2
