"""``annidx decide``: what is to be kept, removed, told apart, protected."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from annidx.commands.common import open_index, print_json, print_summary
from annidx.errors import UsageError
from annidx.fields import path_fields
from annidx.showing import plural, shown

if TYPE_CHECKING:
    from annidx.decisions import Decision

HELP = "decide what is kept, removed, no duplicate, or protected"
DESCRIPTION = """\
Record decisions in the index, by the content of the pictures: they hold when files are moved, and
outlive rebuilds and roll-backs. No file is touched; "annidx plan" makes a plan of them. A picture
is removed only for one that it matches directly. Pairs that are no duplicates stay away from pairs,
groups, query and has, unless asked for by --decided."""
EPILOG = """\
examples:
  annidx decide --remove copy.jpg --for original.jpg
  annidx decide --keep *.NEF
  annidx decide --not-duplicate twin-a.jpg twin-b.jpg
  annidx decide --protect ~/Photos/albums
  annidx decide --list
  annidx decide --undo                    the last one; --undo 7: that one"""

_LAST = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--keep", nargs="+", metavar="FILE", help="keep them, whatever is planned")
    what.add_argument("--remove", metavar="FILE", help="remove it for the file that --for names")
    what.add_argument(
        "--not-duplicate", nargs=2, metavar=("A", "B"), help="the two are no duplicates"
    )
    what.add_argument(
        "--protect", nargs="+", metavar="DIR", help="nothing in these folders is ever removed"
    )
    what.add_argument("--unprotect", nargs="+", metavar="DIR", help="take that back")
    what.add_argument("--list", action="store_true", help="list the decisions that stand")
    what.add_argument(
        "--undo", nargs="?", type=int, const=_LAST, metavar="N", help="take back the last, or N"
    )
    parser.add_argument("--for", dest="kept", metavar="KEPT", help="with --remove: what is kept")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx import decisions  # noqa: PLC0415 - heavy from here on

    if (args.remove is None) != (args.kept is None):
        message = "--remove FILE and --for KEPT go together: a file is removed for one that is kept"
        raise UsageError(message)
    index = open_index(args)
    before = decisions.read(index.snapshot.index).last
    taken_back = _decide(args, index)
    now = decisions.read(index.snapshot.index)
    if taken_back is not None:
        told = [taken_back]
    else:
        told = [each for each in now.standing if args.list or each.number > before]
    for each in told:
        if args.json:
            print_json(_fields(each))
        else:
            print(_line(each))
    standing = len(now.standing)
    count = plural(len(told), "decision")
    verb = "stand" if args.list else "recorded" if taken_back is None else "taken back"
    sentence = f"{count} {verb}" + ("" if args.list else f"; {standing} stand now")
    print_summary(args, {"count": len(told), "standing": standing}, sentence)
    return 0


def _decide(args: argparse.Namespace, index: Any) -> Decision | None:
    """Record what the options say; return what was taken back, if that is what they say."""
    from annidx.review import deciding  # noqa: PLC0415

    if args.keep:
        deciding.keep(index, args.keep)
    elif args.remove is not None:
        deciding.remove(index, args.remove, args.kept)
    elif args.not_duplicate:
        deciding.not_duplicates(index, *args.not_duplicate)
    elif args.protect or args.unprotect:
        deciding.protect(index, args.protect or args.unprotect, protected=bool(args.protect))
    elif args.undo is not None:
        return deciding.take_back(index, None if args.undo == _LAST else args.undo)
    return None


def _line(decision: Decision) -> str:
    words = f"  ({shown(decision.words)})" if decision.words else ""
    other = {"remove": "  for ", "not-duplicate": "  of "}.get(decision.verdict, "")
    more = other + shown(decision.other.path) + words if decision.other else ""
    return f"{decision.number:5}  {decision.verdict:13}  {shown(decision.one.path)}{more}"


def _fields(decision: Decision) -> dict[str, Any]:
    fields = {
        "number": decision.number,
        "time": decision.time,
        "verdict": decision.verdict,
        **path_fields("path", decision.one.path),
    }
    if decision.other is not None:
        fields |= path_fields("other", decision.other.path)
    return fields | {"kind": decision.kind, "words": decision.words}
