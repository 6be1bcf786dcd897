"""annidx.commands.metrics: what is written for Prometheus, checked against its text format."""

from __future__ import annotations

import os
import re
from pathlib import Path

from annidx.commands import metrics
from annidx.model import BuildReport
from annidx.store.manifest import GraphEntry, Manifest

NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"
LABEL = r'[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"(annidx_[a-z_]+)\{{({LABEL}(?:,{LABEL})*)\}} ({NUMBER})")
NAMES = {
    *("last_success_timestamp_seconds", "build_duration_seconds", "pictures", "failures"),
    *("failures_new", "recall", "snapshot", "snapshot_timestamp_seconds", "snapshot_age_seconds"),
}


def samples(text: str) -> dict[tuple[str, str], float]:
    """Read the format strictly: each metric has HELP, TYPE and then all of its samples."""
    assert text.endswith("\n")
    found: dict[tuple[str, str], float] = {}
    described, current = set(), ""
    lines = iter(text[:-1].split("\n"))
    for line in lines:
        if line.startswith("#"):
            current = line.split(" ")[2]
            assert re.fullmatch(rf"# HELP {current} [A-Z][^\\]*\.", line)
            assert next(lines) == f"# TYPE {current} gauge"
            assert current not in described
            described.add(current)
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        assert sample[1] == current
        assert (sample[1], sample[2]) not in found
        found[sample[1], sample[2]] = float(sample[3])
    assert described == {name for name, _ in found}
    return found


def graph(metric: str, recall: float | None) -> GraphEntry:
    return GraphEntry(metric, "", 1, "", (), 5, recall, recall, recall, 0, 1.0, True)


def report(**changes: object) -> BuildReport:
    facts: dict[str, object] = dict.fromkeys(BuildReport.__slots__, 0)
    facts |= {"new_failures": (b"/a", b"/b"), "failed": 3, "images": 1_234_567, "seconds": 1.23456}
    return BuildReport(**{**facts, **changes})  # type: ignore[arg-type]


def written(index: str, *graphs: GraphEntry) -> dict[tuple[str, str], float]:
    manifest = Manifest(42, "2026-01-02T03:04:05+00:00", graphs=graphs)
    text = metrics.text_of(report(), manifest, Path(index), 1767323110.25)
    return samples(text.encode().decode())


def test_every_metric_is_there() -> None:
    found = written("/a/b", graph("thumb", 0.9995), graph("signature", 1.0), graph("gray8", None))
    where = 'index="/a/b"'
    assert found == {
        ("annidx_last_success_timestamp_seconds", where): 1767323110.25,
        ("annidx_build_duration_seconds", where): 1.235,
        ("annidx_pictures", where): 1_234_567,
        ("annidx_failures", where): 3,
        ("annidx_failures_new", where): 2,
        ("annidx_recall", f'{where},metric="thumb"'): 0.9995,
        ("annidx_recall", f'{where},metric="signature"'): 1,
        ("annidx_snapshot", where): 42,
        ("annidx_snapshot_timestamp_seconds", where): 1767323045,
        ("annidx_snapshot_age_seconds", where): 65.25,
    }
    assert {name for name, _ in found} == {f"annidx_{name}" for name in NAMES}


def test_without_a_measured_recall_there_is_none() -> None:
    assert "annidx_recall" not in {name for name, _ in written("/a", graph("thumb", None))}


def test_labels_are_escaped() -> None:
    odd = '/a "b"\\c\nd é' + os.fsdecode(b"\xff")
    labels = {label for _, label in written(odd)}
    assert labels == {'index="/a \\"b\\"\\\\c\\nd é\ufffd"'}
