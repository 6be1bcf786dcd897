"""``annidx pairs --open-with``: each pair in a viewer, the next on Enter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.running import complaint, run


@pytest.fixture
def viewer(tmp_path: Path) -> Path:
    """Return a viewer that writes down what it was asked to show."""
    path = tmp_path / "a viewer"
    path.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/shown"\n')
    path.chmod(0o700)
    return path


def shown(tmp_path: Path, count: int) -> list[str]:
    for _ in range(500):
        path = tmp_path / "shown"
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            return lines
        run("--version")  # viewers are not waited for
    return lines


def test_pairs_are_opened_nearest_first_until_the_user_stops(
    index: Path, viewer: Path, tmp_path: Path
) -> None:
    words = ("pairs", "--limit", "5", "--open-with", f"'{viewer}' --both")
    done = run(*words, index=index, stdin=b"\n\nq\n")
    lines = [line for line in done.stdout.splitlines() if "  identical" in line or "  same" in line]
    assert len(lines) == 3
    assert done.stderr.count("Enter: the next pair") == 3
    opened = shown(tmp_path, 3)
    assert len(opened) == 3
    assert all(line.startswith("--both /") and line.count(" /") == 2 for line in opened)


def test_the_end_of_the_input_ends_it(index: Path, viewer: Path, tmp_path: Path) -> None:
    run("pairs", "--open-with", index=index, ANNIDX_VIEWER=f"'{viewer}'")
    assert len(shown(tmp_path, 1)) == 1


def test_a_viewer_that_cannot_be_started(index: Path) -> None:
    done = run("pairs", "--open-with", "/nonexistent/viewer", code=2, index=index)
    assert "cannot be started" in done.stderr
    assert "No closing quotation" in complaint("pairs", "--open-with", "'", code=2, index=index)
