"""``annidx rollback``: go back to an earlier snapshot."""

from __future__ import annotations

import argparse

from annidx.commands.common import add_lock_wait, index_path, natural, print_summary
from annidx.commands.snapshots import counted
from annidx.showing import plural

HELP = "go back to an earlier snapshot"
DESCRIPTION = """\
Publish an earlier snapshot once more, under the next number, after a check of all its files.
Nothing is lost by it: the snapshots in between stay until prune removes them. No picture is
touched, and the next build brings the index up to date with the archive again."""
EPILOG = """\
examples:
  annidx rollback       to the snapshot before the current one
  annidx rollback 41    to the state of snapshot 41 (annidx snapshots lists them)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "number",
        nargs="?",
        type=natural,
        metavar="N",
        help="number of a snapshot (default: the one before the current one)",
    )
    add_lock_wait(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    import annidx  # noqa: PLC0415 - heavy from here on

    manifest = annidx.rollback(args.number, index=index_path(args), lock_wait_s=args.lock_wait)
    images = counted(manifest)
    fields = {"snapshot": manifest.number, "restores": manifest.restores, "images": images}
    sentence = f"snapshot {manifest.number} restores snapshot {manifest.restores}: "
    print_summary(args, fields, sentence + plural(images, "picture"))
    return 0
