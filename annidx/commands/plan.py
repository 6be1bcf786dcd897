"""``annidx plan``: what would be removed, for which kept file, and why."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from annidx.commands.common import open_index, print_json, print_summary
from annidx.showing import bytes_text, plural, shown

if TYPE_CHECKING:
    from annidx.review.planned import Plan, Removal

HELP = "what would be removed, for which kept file: a plan to look through"
DESCRIPTION = """\
Make a plan of what was decided ("annidx decide"), and with --auto identical of all byte-identical
copies but one. Near-duplicates are removed by explicit decisions only. Every removal names one
kept file that it matches directly, and a file that is kept for any other is removed nowhere. No
file of the archive is changed: "annidx apply PLAN" shows what the plan does, with --yes it acts."""
EPILOG = """\
examples:
  annidx plan --auto identical --output plan.jsonl
  annidx plan --auto identical --keep path:~/Photos/originals,oldest
  annidx plan --reference ~/Photos/albums --output plan.jsonl
  annidx apply plan.jsonl                 what it would do
  annidx apply plan.jsonl --yes           do it; annidx undo --last --yes takes it back"""

_KEEP = "format,clean,resolution,size,oldest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--auto",
        choices=["none", "identical"],
        default="none",
        help="identical: also remove byte-identical copies but one (default none: decisions only)",
    )
    parser.add_argument(
        "--keep",
        default=_KEEP,
        metavar="RULES",
        help="which of several identical files is kept: rules with commas, the first counts most: "
        "format (camera RAW, then what names its camera, then exports), clean (nothing laid over "
        "it, no frame), resolution, size, oldest, "
        f"path:DIR (default {_KEEP})",
    )
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="DIR",
        help="a protected folder: nothing in it is removed; several times: all of them",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write the plan here, as JSON lines, for apply"
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx.review import plan as planning  # noqa: PLC0415 - heavy from here on
    from annidx.review import planned, suggest  # noqa: PLC0415
    from annidx.store import files  # noqa: PLC0415

    keep = suggest.rules(args.keep)
    made = planning.make(open_index(args), auto=args.auto, keep=keep, reference=args.reference)
    if args.output:
        with files.replacing(Path(args.output)) as handle:
            handle.write(planned.to_bytes(made))
    if args.json:
        for fields in planned.fields_of(made):
            print_json(fields)
    else:
        _print(made)
    fields = {**planned.summary_of(made), "output": args.output}
    sentence = f"{plural(len(made.removals), 'file')} to be removed ({bytes_text(made.size)})"
    if made.refusals:
        sentence += f", {len(made.refusals)} decided about and left"
    if args.output and made.removals:
        sentence += f'; "annidx apply {shown(args.output)}" shows what it does'
    print_summary(args, fields, sentence)
    return 0


def _print(plan: Plan) -> None:
    for each in plan.removals:
        print(f"remove  {shown(each.path)}\n  keep  {shown(each.kept)}")
        print(f"        {shown(each.reason)}{_beside(each)}")
    for refusal in plan.refusals:
        print(f"leave   {shown(refusal.path)}\n        {shown(refusal.reason)}")


def _beside(removal: Removal) -> str:
    names = ", ".join(shown(each.name) for each in removal.companions)
    return f"\n  with  {names}" if names else ""
