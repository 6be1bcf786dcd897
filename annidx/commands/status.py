"""``annidx status``: what is in the index."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from annidx.commands.common import Paths, open_index, print_json, print_summary
from annidx.descriptors import DESCRIPTORS
from annidx.fields import path_fields
from annidx.model import IGNORED, READABLE, STATUSES
from annidx.showing import bytes_text, plural, shown

if TYPE_CHECKING:
    from annidx.index import Index

HELP = "what is in the index; --failed names unreadable files"
DESCRIPTION = """\
Print what the current snapshot holds, or (--failed) the files that could not be read, each with its
status and the reason."""
EPILOG = """\
examples:
  annidx status
  annidx status --failed"""

BESIDE = "RAW or JPEG half, a Live Photo video or a sidecar"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--failed", action="store_true", help="list the files that could not be read, and why"
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    index = open_index(args)
    if args.failed:
        return _failed(args, index)
    fields = _fields(index)
    if not args.json:
        _print(index, fields)
    print_summary(args, fields, "")
    return 0


def _failed(args: argparse.Namespace, index: Index) -> int:
    paths = Paths(index)
    count = 0
    for raw, status, error in index.failures():
        count += 1
        if args.json:
            print_json({**path_fields("path", raw), "status": status, "error": error})
        else:
            print(f"{status:12}  {paths(raw)}: {error or STATUSES[status]}")
    print_summary(args, {"failed": count}, f"{plural(count, 'file')} could not be read")
    return 0


def _fields(index: Index) -> dict[str, Any]:
    from annidx.answers import with_companions  # noqa: PLC0415 - heavy from here on

    manifest = index.manifest
    counts, held = dict(manifest.counts), manifest.descriptors
    sizes = sum(entry.size for entry in manifest.segments)
    sizes += sum(entry.size for entry in manifest.graphs)
    return {
        **path_fields("index", os.fsencode(index.snapshot.index.absolute())),
        "snapshot": manifest.number,
        "created": manifest.created,
        "images": sum(counts.get(status, 0) for status in READABLE),
        "failed": sum(n for status, n in counts.items() if status not in READABLE | IGNORED),
        "statuses": counts,
        "descriptors": {n: held[n] for n in DESCRIPTORS if n in held},
        "with_companions": with_companions(index.snapshot),
        "left_out": dict(manifest.left_out),
        "roots": [{**path_fields("path", r.path), "status": r.status} for r in manifest.roots],
        "segments": len(manifest.segments),
        "bytes": sizes,
        "graphs": [
            {
                "metric": graph.metric,
                "nodes": graph.nodes,
                "recall": graph.recall,
                "recall_low": graph.recall_low,
                "sampled_pairs": graph.sampled_pairs,
                "found_itself": graph.found_itself,
                "used": graph in index.engines.usable_graphs(graph.metric),
            }
            for graph in manifest.graphs
        ],
        "uncovered": {metric: index.engines.uncovered(metric) for metric in manifest.graph_metrics},
    }


def _print(index: Index, fields: dict[str, Any]) -> None:
    manifest = index.manifest
    print(f"index      {fields['index']}")
    print(f"snapshot   {manifest.number}, {manifest.created}")
    truncated = manifest.counts.get("truncated", 0)
    damaged = f", {truncated:,} of them truncated" if truncated else ""
    print(f"pictures   {fields['images']:,}{damaged}, {fields['failed']:,} unreadable")
    if fields["with_companions"]:
        print(f"companions {plural(fields['with_companions'], 'picture')} with a {BESIDE}")
    for root in manifest.roots:
        print(f"root       {shown(root.path)} ({root.status})")
    print(f"holds      {', '.join(fields['descriptors'])}")
    print(f"on disk    {plural(len(manifest.segments), 'segment')}, {bytes_text(fields['bytes'])}")
    for graph in fields["graphs"]:
        recall = "no pairs in the sample"
        if graph["recall"] is not None:
            recall = f"recall {graph['recall']:.4f} of {graph['sampled_pairs']:,} sampled pairs"
        used = "" if graph["used"] else ", NOT USED: annidx build --rebuild-graphs tries again"
        print(f"graph      {graph['metric']}: {graph['nodes']:,} nodes, {recall}{used}")
    for metric, count in fields["uncovered"].items():
        if count:
            print(f"no graph   {metric}: {plural(count, 'picture')} searched exactly")
    left = ", ".join(f"{count:,} {reason}" for reason, count in fields["left_out"].items())
    ignored = [
        plural(count, status) if status == "video" else f"{count:,} {status}"
        for status, count in manifest.counts.items()
        if status in IGNORED
    ]
    left = ", ".join(filter(None, [left, *ignored]))
    if left:
        print(f"left out   {left}")
