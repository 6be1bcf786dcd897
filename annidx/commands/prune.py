"""``annidx prune``: remove old snapshots."""

from __future__ import annotations

import argparse

from annidx.commands.common import (
    add_lock_wait,
    index_path,
    print_json,
    print_summary,
    whole_number,
)
from annidx.showing import bytes_text, plural

HELP = "remove old snapshots"
DESCRIPTION = """\
Remove the snapshots that are neither among the newest nor young, and the files that only they need.
Every build does so with the defaults. The current snapshot always stays, and a query that has an
old one open goes on undisturbed."""
EPILOG = """\
examples:
  annidx prune --dry-run
  annidx prune --keep 1 --keep-hours 0    only the current snapshot stays"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--keep", type=whole_number, default=3, metavar="N", help="the newest N stay (default 3)"
    )
    parser.add_argument(
        "--keep-hours",
        type=whole_number,
        default=24,
        metavar="H",
        help="those of the last H hours stay as well (default 24)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    add_lock_wait(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    import annidx  # noqa: PLC0415 - heavy from here on

    pruned = annidx.prune(
        keep=args.keep,
        keep_s=args.keep_hours * 3600.0,
        dry_run=args.dry_run,
        index=index_path(args),
        lock_wait_s=args.lock_wait,
    )
    for number in pruned.removed:
        if args.json:
            print_json({"snapshot": number, "whole": number not in pruned.broken})
        else:
            print(f"snapshot {number}" + (" (not whole)" if number in pruned.broken else ""))
    removed, kept = len(pruned.removed), len(pruned.kept)
    fields = {
        "removed": removed,
        "kept": kept,
        "bytes_freed": pruned.bytes_freed,
        "dry_run": args.dry_run,
    }
    verb = "would be removed" if args.dry_run else "removed"
    sentence = (
        f"{plural(removed, 'snapshot')} {verb}, {bytes_text(pruned.bytes_freed)}; {kept} kept"
    )
    print_summary(args, fields, sentence)
    return 0
