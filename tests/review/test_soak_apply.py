"""Applies and undos that are killed at some steps: a short run of scripts/soak_apply.py."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.commands.running import REPOSITORY, environment


def test_nothing_is_lost_however_it_is_killed() -> None:
    """In a process of its own, which has no threads when it forks."""
    words = ["scripts.soak_apply", "--rounds", "1", "--every", "37", "--seed", "3", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=REPOSITORY,
        env=environment({"PYTHONPATH": str(REPOSITORY)}),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["violations"] == []
    assert told["lost"] == 0
    assert told["killed"] >= 15
    assert told["applies"] >= told["killed"] // 2
