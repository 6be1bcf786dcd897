"""``annidx undo``: put back what a plan has moved."""

from __future__ import annotations

import argparse

from annidx.commands.common import (
    SOME_UNREADABLE,
    add_lock_wait,
    index_path,
    print_json,
    print_summary,
)
from annidx.errors import UsageError
from annidx.fields import path_fields
from annidx.showing import plural, shown

HELP = "put back what a plan has moved; shows what it would do without --yes"
DESCRIPTION = """\
Put every file that a plan has moved back where it lay, with its companions, also after a crash in
the middle of apply or undo. Nothing is overwritten: where another file lies now, the removed one
stays where it is and is named. Without --yes nothing is changed."""
EPILOG = """\
examples:
  annidx undo --last
  annidx undo --last --yes
  annidx undo 20261122-031500-1f2e3d4c --yes

exit codes: 0 all was put back (or would be), 3 some files were not, 1 none was"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "plan", nargs="?", metavar="PLAN-ID", help="as apply named it; see also --last"
    )
    parser.add_argument(
        "--last", action="store_true", help="the plan that was applied last and is not undone"
    )
    parser.add_argument("--yes", action="store_true", help="do it; else only show what it would do")
    add_lock_wait(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx.review import undo  # noqa: PLC0415 - heavy from here on

    if bool(args.plan) == args.last:
        message = "name one plan, as apply named it, or give --last"
        raise UsageError(message)
    undone = undo.undo(index_path(args), args.plan, act=args.yes, lock_wait_s=args.lock_wait)
    for each in undone.returns:
        if args.json:
            fields = {**path_fields("path", each.path), **path_fields("from", each.source)}
            told = {"result": each.result, "reason": each.reason}
            print_json({**fields, **told, "size": each.size, "companion": each.is_companion})
        else:
            verb = {"done": "put back", "would": "put back", "refused": "left    "}[each.result]
            print(f"{verb} {shown(each.path)}")
            if each.reason:
                print(f"         {shown(each.reason)}")
    back, refused = undone.count("would", "done"), undone.count("refused")
    verb = "put back" if args.yes else "would be put back"
    sentence = f"{plural(back, 'file')} of plan {undone.plan_id} {verb}"
    sentence += f", {refused} left" if refused else ""
    sentence += "; --yes does it" if back and not args.yes else ""
    counts = {"returned": undone.count("done"), "would_return": undone.count("would")}
    summary = {"plan": undone.plan_id, "undone": args.yes, **counts, "refused": refused}
    print_summary(args, summary, sentence)
    return 0 if not refused else SOME_UNREADABLE if back else 1
