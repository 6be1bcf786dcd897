"""``annidx apply``: carry out a plan, or show what it would do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annidx.commands.common import (
    SOME_UNREADABLE,
    add_lock_wait,
    index_path,
    print_json,
    print_summary,
)
from annidx.fields import path_fields
from annidx.showing import bytes_text, plural, shown

if TYPE_CHECKING:
    from annidx.review.apply import Outcome

HELP = "carry out a plan, with every file checked again; shows what it would do without --yes"
DESCRIPTION = """\
Move what a plan removes into ROOT/.annidx-removed/PLAN, on the same file system; "annidx undo" puts
it back, and "annidx purge" alone frees its bytes. Immediately before each step both files are
opened, told apart and hashed; after it the kept one once more, and if that is gone everything is
put back. Sidecars go with their picture. What is in a protected folder, or has changed since the
plan was made, stays where it is. Without --yes nothing is changed."""
EPILOG = """\
examples:
  annidx apply plan.jsonl
  annidx apply plan.jsonl --yes
  annidx apply plan.jsonl --yes --hardlink    byte-identical files become links to the kept ones

exit codes: 0 all was done (or would be), 3 some files were left where they are, 1 all were"""

_DONE = {"done": "removed", "would": "remove ", "already": "before ", "refused": "left   "}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("plan", metavar="PLAN", help='a file that "annidx plan --output" wrote')
    parser.add_argument("--yes", action="store_true", help="do it; else only show what it would do")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--trash",
        action="store_true",
        help="hand files to the desktop's trash instead; best effort: other programs empty it, and "
        "undo finds only what is still there",
    )
    ways.add_argument(
        "--hardlink",
        action="store_true",
        help="put a hard link to the kept file in its place; byte-identical files only",
    )
    ways.add_argument(
        "--reflink",
        action="store_true",
        help="put a clone of the kept file in its place, which shares its blocks until one is "
        "changed; byte-identical files only, where the file system can (btrfs, XFS)",
    )
    parser.add_argument(
        "--digest",
        metavar="SHA256",
        help='only if this is the digest of the plan, as the summary of "annidx plan" has it',
    )
    add_lock_wait(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx.review import apply, planned  # noqa: PLC0415 - heavy from here on

    plan = planned.load(Path(args.plan).expanduser())
    report = apply.apply(
        index_path(args),
        plan,
        act=args.yes,
        digest=args.digest,
        how="trash" if args.trash else _replacing(args),
        lock_wait_s=args.lock_wait,
        on_outcome=_print_json if args.json else _print,
    )
    done, refused = report.count("would", "done", "already"), report.count("refused")
    fields = {
        "plan": report.plan_id,
        "how": report.how,
        "applied": args.yes,
        "removed": report.count("done"),
        "would_remove": report.count("would"),
        "already": report.count("already"),
        "refused": refused,
        "bytes": report.size,
    }
    moved = report.count("done") if args.yes else report.count("would")
    verb = "removed" if args.yes else "would be removed"
    sentence = f"{plural(moved, 'file')} {verb} ({bytes_text(report.size)})"
    sentence += f", {report.count('already')} were before" if report.count("already") else ""
    sentence += f", {refused} left where they are" if refused else ""
    if args.yes:
        sentence += f'; "annidx undo {report.plan_id} --yes" puts all back' if done else ""
    else:
        sentence += "; --yes does it" if moved else ""
    print_summary(args, fields, sentence)
    return 0 if not refused else SOME_UNREADABLE if done else 1


def _replacing(args: argparse.Namespace) -> Any:
    return "hardlink" if args.hardlink else "reflink" if args.reflink else "remove"


def _print(outcome: Outcome) -> None:
    print(f"{_DONE[outcome.result]} {shown(outcome.path)}")
    if outcome.result == "refused":
        print(f"        {shown(outcome.reason)}")
        return
    print(f"  kept  {shown(outcome.kept)}  ({shown(outcome.reason)})")
    if outcome.companions:
        print(f"  with  {', '.join(map(shown, outcome.companions))}")


def _print_json(outcome: Outcome) -> None:
    fields = {
        **path_fields("path", outcome.path),
        **path_fields("kept", outcome.kept),
        "result": outcome.result,
        "reason": outcome.reason,
        "size": outcome.size,
        "companions": [path_fields("name", name) for name in outcome.companions],
    }
    print_json(fields | (path_fields("to", outcome.to) if outcome.to else {}))
