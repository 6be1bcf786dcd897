"""annidx demo: the whole of it on the shipped pictures, and nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

from tests.commands.running import complaint, run


def test_it_shows_every_step_and_leaves_nothing(tmp_path: Path) -> None:
    done = run("demo", TMPDIR=str(tmp_path))
    steps = [line for line in done.stdout.splitlines() if line.startswith("$ annidx ")]
    assert [step.split()[2] for step in steps] == ["build", "pairs", "groups", "query"]
    assert "63 pictures in the index: 63 added, 0 removed, 2 unreadable; snapshot 1" in done.stdout
    table = done.stdout[done.stdout.index("known edits found") :].splitlines()[2:]
    found = {line.split()[0]: [int(word) for word in line.split()[1:]] for line in table}
    for edit in ("copy", "metadata", "orientation", "png", "recompressed", "resized", "webp"):
        assert len(set(found[edit])) == 1, f"{edit}: {found[edit]}"
    assert all(counts[0] == counts[-1] for counts in found.values()), "fingerprints find them all"
    assert found["flipped"] == [4, 0, 0, 4]
    assert found["brightened"] == [4, 0, 4, 4]
    assert list(tmp_path.iterdir()) == []


def test_json_alone_is_on_stdout(tmp_path: Path) -> None:
    done = run("demo", "--json", TMPDIR=str(tmp_path))
    lines = [json.loads(line) for line in done.stdout[:-1].split("\n")]
    assert lines[-1]["message_type"] == "summary"
    assert list(tmp_path.iterdir()) == []


def test_an_index_is_not_taken(tmp_path: Path) -> None:
    """It would be ignored: the demo's own is thrown away."""
    assert "leave out --index" in complaint("demo", index=tmp_path / "index", code=2)
    assert list(tmp_path.iterdir()) == []
