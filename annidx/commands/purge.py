"""``annidx purge``: free the bytes of what was removed."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta

from annidx.commands.common import (
    SOME_UNREADABLE,
    add_lock_wait,
    index_path,
    print_json,
    print_summary,
)
from annidx.fields import path_fields
from annidx.showing import bytes_text, plural, shown

HELP = "free the bytes of what was removed long ago; shows what it would do without --yes"
DESCRIPTION = """\
Give up for good what apply moved away at least so long ago; undo cannot bring it back then. Before
each file goes, it and the one that was kept for it are hashed once more: when the kept one is gone,
the removed one stays. What went to the desktop's trash is not touched. Without --yes nothing is
changed."""
EPILOG = """\
examples:
  annidx purge --older-than 30d
  annidx purge --older-than 30d --yes

exit codes: 0 all went (or would), 3 some files stay, 1 all of them stay"""

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--older-than",
        type=_age,
        required=True,
        metavar="AGE",
        help="removed at least so long ago: 12h, 30d, 8w",
    )
    parser.add_argument("--yes", action="store_true", help="do it; else only show what would go")
    parser.add_argument(
        "--force", action="store_true", help="also files whose kept one is gone or has changed"
    )
    add_lock_wait(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx.review import purge  # noqa: PLC0415 - heavy from here on

    now = datetime.now(UTC)
    purged = purge.purge(
        *(index_path(args), args.older_than),
        act=args.yes,
        now=now,
        force=args.force,
        lock_wait_s=args.lock_wait,
    )
    for each in purged.files:
        if args.json:
            paths = {**path_fields("path", each.path), **path_fields("from", each.source)}
            facts = {"plan": each.plan_id, "result": each.result, "reason": each.reason}
            print_json({**paths, **facts, "size": each.size})
        else:
            print(f"{'stays' if each.reason else 'purge'}  {shown(each.source)}")
            if each.reason:
                print(f"       {shown(each.reason)}")
    gone, refused = purged.count("would", "done"), purged.count("refused")
    verb = "removed for good" if args.yes else "would be removed for good"
    sentence = f"{plural(gone, 'file')} {verb} ({bytes_text(purged.size)})"
    sentence += f", {refused} stay" if refused else ""
    sentence += "; --yes does it" if gone and not args.yes else ""
    fields = {"purged": purged.count("done"), "would_purge": purged.count("would")}
    print_summary(args, {**fields, "refused": refused, "bytes": purged.size}, sentence)
    return 0 if not refused else SOME_UNREADABLE if gone else 1


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([hdw])", text.strip())
    if found is None:
        message = f"{text}: expected an age such as 12h, 30d or 8w"
        raise argparse.ArgumentTypeError(message)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
