"""Prometheus' text format: of a build's file of metrics, and of a service.

By hand: this page is shorter than what a client library would have to be told, which keeps its own
counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

Sample = tuple[str, Mapping[str, str], float]
"""Name, which begins as the family's, labels and value."""


def family(name: str, kind: str, what: str, samples: Iterable[Sample]) -> list[str]:
    """Return the lines of one metric, none without samples.

    Parameters
    ----------
    name : str
        "annidx_" goes before it, as before those of the samples.
    kind : str
        'gauge', 'counter' or 'histogram'.
    what : str
        What it means.
    samples : iterable of Sample

    Examples
    --------
    >>> family("pictures", "gauge", "How many.", [("pictures", {"index": 'a"b'}, 3)])[2]
    'annidx_pictures{index="a\\\\"b"} 3'
    """
    lines = [f"# HELP annidx_{name} {what}", f"# TYPE annidx_{name} {kind}"]
    lines += [f"annidx_{each}{_labels(labels)} {value:.15g}" for each, labels, value in samples]
    return lines if len(lines) > 2 else []


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items()) + "}"


def _escaped(text: str) -> str:
    """Escape the value of a label; it is UTF-8, which a path need not be."""
    text = os.fsencode(text).decode(errors="replace")
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
