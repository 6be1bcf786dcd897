"""``annidx snapshots``: the states of the index that can be gone back to."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from annidx.commands.common import index_path, print_json, print_summary, warn
from annidx.model import IGNORED, READABLE
from annidx.showing import bytes_text, plural

if TYPE_CHECKING:
    from annidx.store.history import Listed
    from annidx.store.manifest import Manifest

HELP = "list the snapshots of the index"
DESCRIPTION = """\
Every build that changes something publishes a snapshot; the newest is current, and queries that
began before go on with theirs. The 3 newest and all of the last 24 hours are kept."""
EPILOG = """\
examples:
  annidx snapshots
  annidx rollback 41      go back to one of them
  annidx prune --keep 1   only the current one"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb: there are none."""


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx.store import history  # noqa: PLC0415 - heavy from here on

    index = index_path(args)
    listed = history.listing(index)
    current = max((each.number for each in listed if each.manifest), default=0)
    if listed and not args.json:
        print("snapshot  created                      pictures  unreadable      bytes")
    for each in listed:
        fields = _fields(each, current)
        if args.json:
            print_json(fields)
        elif each.manifest is None:
            warn(each.damage)
        else:
            _print(fields)
    count = len(listed)
    summary = {"count": count, "snapshot": current}
    sentence = (
        f"{plural(count, 'snapshot')}, {current} is current" if current else "no snapshot yet"
    )
    print_summary(args, summary, sentence)
    return 0


def _fields(listed: Listed, current: int) -> dict[str, Any]:
    manifest = listed.manifest
    if manifest is None:
        return {"snapshot": listed.number, "current": False, "damaged": listed.damage}
    return {
        "snapshot": listed.number,
        "current": listed.number == current,
        "created": manifest.created,
        "images": counted(manifest),
        "failed": sum(
            n for status, n in manifest.counts.items() if status not in READABLE | IGNORED
        ),
        "segments": len(manifest.segments),
        "graphs": len(manifest.graphs),
        "bytes": sum(e.size for e in manifest.segments) + sum(e.size for e in manifest.graphs),
        "restores": manifest.restores or None,
    }


def counted(manifest: Manifest) -> int:
    """Return how many readable pictures a snapshot holds."""
    return sum(manifest.counts.get(status, 0) for status in READABLE)


def _print(fields: dict[str, Any]) -> None:
    note = f"  restores {fields['restores']}" if fields["restores"] else ""
    print(
        f"{fields['snapshot']:8}{'*' if fields['current'] else ' '} {fields['created']}  "
        f"{fields['images']:10,}  {fields['failed']:10,} {bytes_text(fields['bytes']):>10}{note}"
    )
