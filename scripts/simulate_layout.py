"""What merging costs: a thousand daily builds, simulated with the rules of annidx.layout.

Each day some pictures are new, or as many changed (a row removed, spread evenly over what there
is, and another added). Counted are the rows that segments and graphs were
written with, for each row that was new, and how many segments and graphs there are.

  scripts/simulate_layout.py
  scripts/simulate_layout.py --pictures 1000000 --days 365 --json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from annidx import layout
from annidx.layout import Size
from annidx.store.segment import ROWS

KINDS = ("added", "changed")


@dataclass
class Archive:
    """Segments as (rows, live), the graphs over them, and what was written."""

    segments: list[Size] = field(default_factory=list)
    groups: list[list[int]] = field(default_factory=list)
    rows_written: int = 0
    nodes_built: int = 0
    graphs_built: int = 0

    def build(self, new_rows: int) -> None:
        """Do what a build does: merge, write, make graphs."""
        plan = layout.plan(self.segments, self.groups, waiting=new_rows)
        written = new_rows + sum(self.segments[at].live for at in plan.rewritten)
        kept = [self.groups[at] for at in plan.kept]
        covered = [at for group in kept for at in group]
        tail = [at for at in range(len(self.segments)) if at not in {*covered, *plan.rewritten}]
        order = [*covered, *tail]
        fresh = [min(ROWS, written - start) for start in range(0, written, ROWS)]
        place = {old: new for new, old in enumerate(order)}
        self.groups = [[place[at] for at in group] for group in kept]
        self.segments = [self.segments[at] for at in order] + [Size(n, n) for n in fresh]
        self.rows_written += written
        if plan.cover:
            group = list(range(len(covered), len(self.segments)))
            self.nodes_built += sum(self.segments[at].live for at in group)
            self.graphs_built += 1
            self.groups.append(group)

    def remove(self, count: int, rng: np.random.Generator) -> None:
        """Remove pictures from all segments alike."""
        live = np.array([size.live for size in self.segments])
        gone = rng.multivariate_hypergeometric(live, count)
        self.segments = [
            Size(size.rows, size.live - int(n)) for size, n in zip(self.segments, gone, strict=True)
        ]


def simulate(pictures: int, daily: int, kind: str, days: int) -> dict[str, float | int | str]:
    """Return what a first build and `days` daily ones cost."""
    rng = np.random.default_rng(20_261_122)
    archive = Archive()
    archive.build(pictures)
    first_rows, first_nodes = archive.rows_written, archive.nodes_built
    segments, graphs, tails = [], [], []
    for _ in range(days):
        if kind != "added":
            archive.remove(daily, rng)
        archive.build(daily)
        segments.append(len(archive.segments))
        graphs.append(len(archive.groups))
        covered = {at for group in archive.groups for at in group}
        tails.append(sum(s.live for at, s in enumerate(archive.segments) if at not in covered))
    return {
        "pictures": pictures,
        "daily": daily,
        "kind": kind,
        "days": days,
        "rows_written": (archive.rows_written - first_rows) / (daily * days),
        "nodes_built": (archive.nodes_built - first_nodes) / (daily * days),
        "graphs_built": archive.graphs_built - 1,
        "segments": max(segments),
        "graphs": max(graphs),
        "tail": max(tails),
        "dead": 1 - sum(s.live for s in archive.segments) / sum(s.rows for s in archive.segments),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--share", type=float, default=0.001, help="of them, a day")
    parser.add_argument("--days", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    rows = [
        simulate(pictures, max(1, round(pictures * args.share)), kind, args.days)
        for pictures in args.pictures
        for kind in KINDS
    ]
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(" pictures   daily  kind      rows written  nodes built  segments  graphs   tail  dead")
    for row in rows:
        print(
            f"{row['pictures']:9,} {row['daily']:7,}  {row['kind']:9}"
            f"{row['rows_written']:11.1f}x {row['nodes_built']:11.1f}x"
            f"{row['segments']:10} {row['graphs']:7} {row['tail']:6} {row['dead']:5.0%}"
        )
    print("rows written, nodes built: for each new row; segments, graphs, tail: the most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
