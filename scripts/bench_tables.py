"""Rows of a benchmark as a Markdown table and as a plot, and the machine that they are of."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]

COLUMNS = {
    "work": "{}",
    "n": "{:,}",
    "cutoff": "{:g}",
    "cpu_s": "{:.4g}",
    "wall_s": "{:.4g}",
    "rss_mb": "{:.0f}",
    "anon_mb": "{:.0f}",
    "loaded_mb": "{:.1f}",
    "opened_mb": "{:.0f}",
    "recall": "{:.5f}",
    "wrong": "{}",
    "truth": "{}",
    "pairs": "{:,}",
    "neighbours": "{:,}",
    "ratio": "{:,.0f}x",
    "p50_ms": "{:.3f}",
    "p99_ms": "{:.3f}",
    "cpu_ms": "{:.3f}",
    "p50_us": "{:.0f}",
    "p99_us": "{:.0f}",
    "cpu_us": "{:.0f}",
    "of_best": "{:.2f}",
    "width": "{}",
    "parameters": "{}",
    "found_itself": "{:.5f}",
    "fell_through": "{}",
    "must": "{}",
    "note": "{}",
}


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table of the columns that any of them has."""
    used = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    lines = [
        [COLUMNS[name].format(row[name]) if row.get(name) is not None else "" for name in used]
        for row in rows
    ]
    return markdown([name.replace("_", " ") for name in used], lines)


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return cells as a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


def exponent(rows: Sequence[Row]) -> float | None:
    """Return e of the cost n^e that fits all pairs at 300 best; None for less than two sizes."""
    points = [(row["n"], row["cpu_s"]) for row in rows if row.get("cutoff") == 300.0]
    if len({size for size, _ in points}) < 2:
        return None
    sizes, costs = zip(*points, strict=True)
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw the CPU seconds of all pairs against n, as PATH.png and PATH.svg."""
    plt = pyplot()
    at_300 = sorted((row for row in rows if row["cutoff"] == 300.0), key=lambda row: row["n"])
    sizes = [row["n"] for row in at_300]
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    axes.loglog(sizes, [row["cpu_s"] for row in at_300], "o-", color="#20639b")
    for row in at_300:
        label = f"{row['cpu_s']:.3g} s\n{row['pairs']:,} pairs"
        axes.annotate(
            label, (row["n"], row["cpu_s"]), (8, -4), textcoords="offset points", va="top"
        )
    axes.set(xlabel="thumbs", ylabel="CPU seconds", xlim=(sizes[0] / 1.5, sizes[-1] * 3))
    axes.set_ylim(bottom=min(row["cpu_s"] for row in at_300) / 3)  # room for its label
    fitted = exponent(at_300)
    power = "" if fitted is None else f": cost grows as n^{fitted:.2f}"
    axes.set_title(f"All pairs within 300{power}")
    axes.grid(visible=True, which="major", color="#dddddd")
    save(figure, path)


def pyplot() -> Any:
    """Return matplotlib's pyplot, set up so that a file of the same figures is the same."""
    import matplotlib as mpl  # noqa: PLC0415 - only scripts/bench installs it

    mpl.use("Agg")
    mpl.rcParams.update({"svg.fonttype": "none", "font.size": 10, "svg.hashsalt": "annidx"})
    from matplotlib import pyplot as plt  # noqa: PLC0415

    return plt


def save(figure: Any, path: Path) -> None:
    """Write a figure as PATH.png and PATH.svg."""
    for ending, metadata in ((".png", {}), (".svg", {"Date": None})):
        figure.savefig(path.with_suffix(ending), dpi=110, metadata=metadata)


def machine() -> Row:
    """Return what the figures depend on."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    named = re.search(r"model name\s*: (.*)", text)
    versions = {}
    for name in ("numpy", "nmslib", "pyarrow", "faiss-cpu", "hnswlib"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": named[1] if named else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }
