"""``annidx report``: groups of near-duplicates as a page to mail around."""

from __future__ import annotations

import argparse
import time
from datetime import datetime
from pathlib import Path

from annidx.asking import GroupOptions
from annidx.commands.common import natural, open_index, print_summary
from annidx.commands.searching import add_search_options, search_options
from annidx.showing import bytes_text, plural, shown

HELP = "groups of near-duplicates as one HTML file with small pictures"
DESCRIPTION = """\
Write groups of near-duplicates into one HTML file that needs nothing else: small pictures are in
it, no script and no address. Those that free most come first. What "annidx groups" takes narrows it
down."""
EPILOG = """\
examples:
  annidx report --html duplicates.html
  annidx report --html 2019.html --path ~/Photos/2019 --groups 100"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("--html", required=True, metavar="FILE", help="write the page here")
    parser.add_argument(
        "--groups",
        type=natural,
        default=500,
        metavar="N",
        help="at most so many groups (default 500; a picture takes some 8 kB)",
    )
    add_search_options(parser, GroupOptions)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx.service.page import report  # noqa: PLC0415 - heavy from here on
    from annidx.store import files  # noqa: PLC0415

    started = time.monotonic()
    options = search_options(args, GroupOptions)
    index = open_index(args)
    found = index.groups(**options)
    text, pictures = report.html(index, found, most=args.groups, made=datetime.now().astimezone())
    data = text.encode(errors="replace")
    with files.replacing(Path(args.html).expanduser()) as handle:
        handle.write(data)
    listed = min(len(found), args.groups)
    fields = {
        "html": args.html,
        "count": listed,
        "groups": len(found),
        "pictures": pictures,
        "bytes": len(data),
        "snapshot": index.manifest.number,
        "seconds": round(time.monotonic() - started, 4),
    }
    left = f", of {len(found):,}" if listed < len(found) else ""
    sentence = f"{plural(listed, 'group')}{left} in {shown(args.html)}"
    sentence += f" ({bytes_text(len(data))})"
    print_summary(args, fields, sentence)
    return 0
