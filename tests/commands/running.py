"""The command line as a subprocess, and what every call of it has to keep to."""

from __future__ import annotations

import atexit
import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.forking import Runner

REPOSITORY = Path(__file__).parents[2]
PICTURES = REPOSITORY / "data" / "pictures"
ENTRY_POINT = Path(sys.executable).parent / "annidx"
SEARCH_SUMMARY = {"complete", "exact", "engine", "recall", "count", "snapshot", "seconds"}
ONE_MATCH = {"query", "path", "distance", "metric", "kind", "transform"}
OF_FINGERPRINTS = {"score", "chance", "extrapolated", "explanation"}
"""What rows of searches by fingerprint have besides."""

Word = str | bytes | Path
Row = dict[str, Any]
Done = subprocess.CompletedProcess[str]


def run(
    verb: str,
    *words: Word,
    code: int = 0,
    index: Path | str | None = None,
    stdin: bytes = b"",
    prefix: Sequence[str] = (),
    cwd: Path | None = None,
    workers: bool = False,
    **variables: str,
) -> Done:
    """Run ``annidx VERB --index INDEX WORDS`` and check its exit code.

    In a forked child of one process that has imported it, which saves the 0.7 CPU s of a start;
    with a prefix or variables the installed command itself. Whatever happens, stderr has no
    traceback and both streams are UTF-8.

    Parameters
    ----------
    verb, words
        The verb (or whatever comes first) and what follows it.
    code : int
        The exit code that is expected.
    index : Path, optional
    stdin : bytes
    prefix : Sequence of str
        A command that runs the command.
    cwd : Path, optional
    workers : bool
        A build starts its workers, as it always does with a prefix or variables; else it extracts
        in its own process, which is quicker.
    variables
        Changes to the environment.
    """
    where: list[Word] = [] if index is None else ["--index", index]
    arguments = [os.fsdecode(word) for word in (verb, *where, *words)]
    if prefix or variables:
        answer = _started([*prefix, str(entry_point()), *arguments], stdin, cwd, variables)
    else:
        answer = _forked(arguments, stdin, cwd, workers)
    assert "Traceback" not in answer.stderr, answer.stderr
    assert answer.returncode == code, f"{answer.args}\n{answer.stdout}\n{answer.stderr}"
    return answer


def _started(
    command: Sequence[str], stdin: bytes, cwd: Path | None, variables: Mapping[str, str]
) -> Done:
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=environment(variables),
        timeout=150,
        check=False,
    )
    return Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def _forked(words: Sequence[str], stdin: bytes, cwd: Path | None, workers: bool) -> Done:
    done = _runner()(
        *words,
        timeout_s=150,
        inline=not workers,
        stdin=stdin,
        cwd=cwd,
        variables=environment({}),
    )
    assert not done.hung, str(done)
    assert done.left == (), str(done)
    (done.out + done.err).encode()  # fails if it is not UTF-8
    return Done(list(done.words), done.code, done.out, done.err)


@cache
def _runner() -> Runner:
    """Return what forks, started once; it ends with the tests."""
    runner = Runner()
    atexit.register(runner.close)
    return runner


def entry_point() -> Path:
    """Return the installed command, beside the Python that runs the tests."""
    assert ENTRY_POINT.exists(), f"{ENTRY_POINT} is missing: pip install -e . in this environment"
    return ENTRY_POINT


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that leads to no index of the user's and is alike everywhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    for name in ("ANNIDX_INDEX", "XDG_DATA_HOME", "PYTHONDONTWRITEBYTECODE"):
        kept.pop(name, None)
    return {
        **kept,
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "PYTHONIOENCODING": "utf-8:strict",  # as in every locale but C and POSIX
        "COLUMNS": "100",
        "OPENBLAS_NUM_THREADS": "1",  # its threads spin when something else keeps the cores busy
        **changes,
    }


def json_lines(verb: str, *words: Word, **options: Any) -> tuple[list[Row], Row]:
    """Run a verb with --json; return its rows (no status lines) and its one summary."""
    done = run(verb, "--json", *words, **options)
    assert done.stdout.endswith("\n")
    *rows, summary = [json.loads(line) for line in done.stdout[:-1].split("\n")]
    assert summary.pop("message_type") == "summary"
    assert "summary" not in [row.get("message_type") for row in rows]
    return [row for row in rows if row.get("message_type") != "status"], summary


def complaint(verb: str, *words: Word, code: int, **options: Any) -> str:
    """Run what is refused; return the one line on stderr. Nothing is on stdout."""
    done = run(verb, *words, code=code, **options)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("annidx: ")
    return done.stderr


def usage_error(verb: str, *words: Word, **options: Any) -> str:
    """Run what the parser refuses; return the last line on stderr."""
    done = run(verb, *words, code=2, **options)
    assert done.stdout == ""
    return done.stderr.splitlines()[-1]


def closing(done: Done) -> str:
    """Return the last line of what a verb printed for people."""
    return done.stdout.splitlines()[-1]


_builds: list[tuple[Path, Done]] = []


def demo_build(factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """Build an index over the shipped pictures, once for all tests; only read it."""
    if not _builds:
        index = factory.mktemp("demo") / "index"
        _builds.append((index, run("build", PICTURES, index=index, code=3, workers=True)))
    return _builds[0]


@cache
def truth() -> list[dict[str, str]]:
    """Return the rows of the shipped ground truth, the two files without a picture left out."""
    with (REPOSITORY / "data" / "ground_truth.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    return [row for row in rows if row["edit"] not in ("broken", "not-a-picture")]


def edits(*names: str) -> set[frozenset[str]]:
    """Return the absolute paths of original and edit for some edits of the shipped pictures."""
    return {
        frozenset((str(PICTURES / row["file"]), str(PICTURES / row["original"])))
        for row in truth()
        if row["edit"] in names
    }


def ends(row: Row) -> frozenset[str]:
    """Return the two pictures of a pair."""
    return frozenset((row["a"], row["b"]))


def without_seconds(summary: Row) -> Row:
    """Return a summary without what differs from run to run."""
    return {key: value for key, value in summary.items() if key != "seconds"}
