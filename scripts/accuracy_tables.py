"""The tables and the plot of scripts/bench_accuracy.py, from the results that it writes as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from scripts.accuracy_counts import RATES
from scripts.accuracy_tools import DUPLICATES, KINDS
from scripts.bench_tables import markdown, pyplot, save

Row = Mapping[str, Any]

LISTED = 50  # false pairs; the JSON has them all
DECADES = range(0, len(RATES), 10)
COLOURS = ("#20639b", "#e07b00", "#3c8d40", "#b22222", "#7a4fa3", "#555555", "#b8860b")


def tables(results: Row) -> Iterator[str]:
    """Yield the tables of everything that was measured, each with its heading."""
    peers, tools = results["descriptors"], results["tools"]
    yield f"## Set\n\n{_sets(results)}"
    if results["suspects"]:
        yield f"## Is the truth right?\n\n{_suspects(results['suspects'])}"
    if results["edits"] and (peers or tools):
        yield f"## Recall of original and edit\n\n{_edits(results['edits'], peers, tools)}"
    if peers or tools:
        yield f"## Cutoffs\n\n{_cutoffs(peers, tools)}"
        yield f"## Recall against false-positive rate\n\n{_curves(peers, tools)}"
    for name, tool in tools.items():
        if any({*row} - {"similar", "missed"} for row in tool["kinds_by_edit"].values()):
            yield f"## Kinds of edits: {name}\n\n{_kinds_by_edit(tool['kinds_by_edit'])}"
        yield f"## Kinds: {name}\n\n{_kinds(tool['kinds'])}"
        if tool["false"]:
            yield f"## False pairs: {name}\n\n{_false(tool['false'])}"
        if tool["chances"]:
            yield f"## Chance: {name}\n\n{_chances(tool['chances'])}"
    asked = [row for tool in tools.values() for row in tool["queries"]]
    if asked:
        yield f"## Queries\n\n{_queries(asked)}"
    if tools:
        yield f"## Cost\n\n{_costs(results['build'], tools)}"


def _sets(results: Row) -> str:
    lines = [[name, f"{count:,}"] for name, count in results["sets"].items()]
    ends = [["true pairs", f"{results['true']:,}"], ["false pairs", f"{results['false']:,}"]]
    return markdown(["set", "pictures"], [*lines, *ends])


def _suspects(rows: Sequence[Row]) -> str:
    lines = [[*(_name(row[end]) for end in "ab"), ", ".join(row["descriptors"])] for row in rows]
    more = f"\n\nand {len(rows) - LISTED:,} more" if len(rows) > LISTED else ""
    about = "Pairs of unedited pictures that count as false and are near, several say:"
    return f"{about}\n\n{markdown(['a', 'b', 'near by'], lines[:LISTED])}{more}"


def _name(path: str) -> str:
    return "/".join(Path(path).parts[-2:])


def _edits(edits: Sequence[str], peers: Row, tools: Row) -> str:
    columns = [row["recall_by_edit"] for row in (*peers.values(), *tools.values())]
    lines = [[edit, *(share(column[edit]) for column in columns)] for edit in edits]
    means = [row["precise"]["recall"] if row["precise"] else 0.0 for row in peers.values()]
    means += [row["recall"] for row in tools.values()]
    head = ["edit", *peers, *(f"annidx {name}" for name in tools)]
    return markdown(head, [*lines, ["**mean**", *(f"**{share(each)}**" for each in means)]])


def _cutoffs(peers: Row, tools: Row) -> str:
    rows: list[tuple[str, str, Row | None]] = []
    for name, peer in peers.items():
        rows.append((name, "precise", peer["precise"]))
        rows += [(name, "usual", each) for each in peer["usual"]]
    for name, tool in tools.items():
        rows.append((f"annidx {name}", "default", tool))
        rows.append((f"annidx {name}", "precise", tool["precise"]))
    lines = []
    for name, which, row in rows:
        if row is None:
            lines.append([name, which, "none is precise enough", *[""] * 5])
            continue
        shares = (share(row[key]) for key in ("recall", "recall_true"))
        precision = share(row["precision"], 5)
        counts = (f"{row[key]:,}" for key in ("true_pairs", "false_pairs"))
        lines.append([name, which, f"{row['cutoff']:.4g}", *shares, precision, *counts])
    head = ["", "cutoff", "distance <=", "recall of edits", "recall of true pairs", "precision"]
    return markdown([*head, "true pairs", "false pairs"], lines)


def _curves(peers: Row, tools: Row) -> str:
    named = {**peers, **{f"annidx {name}": tool for name, tool in tools.items()}}
    lines = [[name, *(share(row["curve"][at]) for at in DECADES)] for name, row in named.items()]
    return markdown(["", *(f"{RATES[at]:.0e}" for at in DECADES)], lines)


def _kinds_by_edit(found: Row) -> str:
    names = [kind for kind in KINDS if any(kind in row for row in found.values())] + ["missed"]
    lines = [[edit, *(f"{row.get(kind, 0)}" for kind in names)] for edit, row in found.items()]
    return markdown(["edit", *names], lines)


def _kinds(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        of, within_a_set = row["possible"], row["sort"].count(":") == 1
        if row["missed"] == of and row["relation"] == "false" and not within_a_set:
            continue
        counts = [f"{row[kind]:,} ({share(row[kind] / of)})" if row[kind] else "" for kind in KINDS]
        called = f"{row['duplicates_per_10000']:.3g}"
        lines.append(
            [row["sort"], row["relation"], f"{of:,}", *counts, f"{row['missed']:,}", called]
        )
    left_out = len(rows) - len(lines)
    more = f"\n\nNone found of {left_out} sorts of false pairs across sets." if left_out else ""
    last = f"{', '.join(DUPLICATES[:-1])} or {DUPLICATES[-1]}, of 10,000"
    return markdown(["pairs", "are", "possible", *KINDS, "not found", last], lines) + more


def _false(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows[:LISTED]:
        names = (_name(row[end]) for end in "ab")
        figures = (f"{row[key]:.4g}" if row[key] is not None else "" for key in _FIGURES)
        lines.append([row["sort"], *names, row["kind"], *figures])
    more = f"\n\nand {len(rows) - LISTED:,} more" if len(rows) > LISTED else ""
    return markdown(["pair", "a", "b", "kind", *_FIGURES], lines) + more


_FIGURES = ("distance", "score", "chance")


def _chances(rows: Sequence[Row]) -> str:
    lines = [
        [
            f"{row['rate']:.0e}",
            f"{row['predicted']:.3g}",
            f"{row['observed']:,}",
            f"{row['factor']:.2f}" if row["factor"] else "",
            row["within_3"],
        ]
        for row in rows
    ]
    head = ["rate of a pair", "false pairs predicted", "observed", "factor", "within 3"]
    return markdown(head, lines)


def _queries(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        times = (row.get(key) for key in ("ms_a_query", "p50_ms", "p99_ms", "cpu_s", "rss_mb"))
        shown = (f"{each:.3g}" if each is not None else "" for each in times)
        lines.append(
            [row["work"], f"{row['queries']:,}", share(row["recall"]), f"{row['false']:,}", *shown]
        )
    head = ["queries", "count", "recall", "false matches", "ms a query, file read", "p50 ms"]
    return markdown([*head, "p99 ms", "cpu s", "rss mb"], lines)


def _costs(build: Row, tools: Row) -> str:
    rows = [build, *(tool["cost"] for tool in tools.values())]
    lines = [
        [row["verb"], *(f"{row[key]:.3g}" for key in ("wall_s", "cpu_s")), f"{row['rss_mb']:.0f}"]
        for row in rows
    ]
    return markdown(["verb", "wall s", "cpu s", "rss mb"], lines)


def share(value: float | None, digits: int = 3) -> str:
    """Return a share in words: 1 only when it is all, nothing for None."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    if value < 1 and float(text) == 1.0:
        text = "0." + "9" * digits
    return text


def plot(results: Row, path: Path) -> None:
    """Draw recall against false-positive rate, as PATH.png and PATH.svg.

    A curve a descriptor; a mark where annidx stands at its default settings, with the curve of what
    stricter settings would find. Left of one false pair in the whole set, curves are dotted.
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(7.6, 4.8), layout="constrained")
    least = 1 / max(1, results["false"])
    colours = cycle(COLOURS)
    seen = {}
    for name, row in results["descriptors"].items():
        seen[name] = next(colours)
        _line(axes, row["curve"], least, color=seen[name], label=name, linewidth=1.6)
    for name, row in results["tools"].items():
        colour = seen.get(name) or next(colours)
        _line(axes, row["curve"], least, color=colour, linewidth=3.0, alpha=0.45)
        recall = row["recall"] if results["edits"] else row["recall_true"]
        label = f"annidx {name}, default"
        where = max(row["rate"], least)
        axes.plot([where], [recall], "o", color=colour, markersize=9, label=label)
    axes.axvline(least, color="#999999", linewidth=0.8, linestyle="--")
    axes.annotate("one false pair", (least, 0.02), (4, 0), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set(xlim=(RATES[0], RATES[-1]), ylim=(0, 1.02), xlabel="false-positive rate of a pair")
    axes.set_ylabel("recall of original and edit" if results["edits"] else "recall of true pairs")
    axes.set_title(f"{sum(results['sets'].values()):,} pictures, {results['false']:,} false pairs")
    axes.grid(visible=True, which="major", color="#dddddd")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    save(figure, path)
    plt.close(figure)


def _line(axes: Any, curve: Sequence[float | None], least: float, **style: Any) -> None:
    known = [
        (rate, recall) for rate, recall in zip(RATES, curve, strict=True) if recall is not None
    ]
    right = [point for point in known if point[0] >= least]
    left = [*(point for point in known if point[0] < least), *right[:1]]
    label = style.pop("label", None)
    for points, line, text in ((right, "-", label), (left, ":", None)):
        if points:
            axes.plot(*zip(*points, strict=True), linestyle=line, label=text, **style)
