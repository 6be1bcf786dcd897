"""The metrics of a build in a file that Prometheus reads: ``annidx build --metrics-file``."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from annidx.errors import AnnidxError, FolderNotFound, UsageError
from annidx.model import BuildReport
from annidx.prometheus import Sample, family

if TYPE_CHECKING:
    from annidx.store.manifest import Manifest

MODE = 0o644
"""The exporter that reads the file is another user."""

_HELP = {
    "last_success_timestamp_seconds": "When a build went through last.",
    "build_duration_seconds": "How long that build took.",
    "pictures": "Readable pictures in the index.",
    "failures": "Files that are or claim to be pictures and could not be read.",
    "failures_new": "Those of them that were no failures before that build.",
    "recall": "Measured recall of a graph, 0 to 1.",
    "snapshot": "Number of the current snapshot.",
    "snapshot_timestamp_seconds": "When the current snapshot was published.",
    "snapshot_age_seconds": "How old it was when that build went through.",
}


def checked(name: str | None) -> Path | None:
    """Return where the metrics go, links followed; before a build, so that it is not in vain.

    Raises
    ------
    UsageError
        When the name is empty, or of something else than a file.
    FolderNotFound
        When there is no such folder.
    AnnidxError
        When nothing can be written there.
    """
    if name is None:
        return None
    path = Path(name).expanduser().resolve()
    if not name or (path.exists() and not path.is_file()):
        message = f"--metrics-file {name!r}: expected the name of a file, new or to be replaced"
        raise UsageError(message)
    if not path.parent.is_dir():
        message = f"--metrics-file {path}: there is no folder {path.parent}: make it first"
        raise FolderNotFound(message)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        message = f"--metrics-file {path}: no permission to write in {path.parent}"
        raise AnnidxError(message)
    return path


def text_of(report: BuildReport, manifest: Manifest, index: Path, now: float) -> str:
    """Return the metrics of a build that went through.

    Parameters
    ----------
    report : BuildReport
    manifest : Manifest
        The current one.
    index : Path
        Its directory; every metric has its absolute path as the label `index`.
    now : float
        Seconds since 1970.
    """
    published = datetime.fromisoformat(manifest.created).timestamp()
    values: dict[str, float] = {
        "last_success_timestamp_seconds": round(now, 3),
        "build_duration_seconds": round(report.seconds, 3),
        "pictures": report.images,
        "failures": report.failed,
        "failures_new": report.failed_new,
        "snapshot": manifest.number,
        "snapshot_timestamp_seconds": published,
        "snapshot_age_seconds": round(max(0.0, now - published), 3),
    }
    where = {"index": str(index.absolute())}
    samples: dict[str, list[Sample]] = {
        name: [(name, where, value)] for name, value in values.items()
    }
    samples["recall"] = [
        ("recall", {**where, "metric": graph.metric}, graph.recall)
        for graph in manifest.graphs
        if graph.recall is not None
    ]
    lines = []
    for name, meaning in _HELP.items():
        lines += family(name, "gauge", meaning, samples[name])
    return "\n".join(lines) + "\n"
