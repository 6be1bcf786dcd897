"""``annidx verify``: is every file of the index what it should be?"""

from __future__ import annotations

import argparse

from annidx.commands.common import index_path, print_json, print_summary, shown_text
from annidx.errors import IndexDamaged

HELP = "check every file of the index against its hash"
DESCRIPTION = """\
Hash every file that any snapshot names, the manifests included, and name those that are not what
was published, with what was expected and what was found. Exit 12 when there is one. "annidx build"
mends what the current snapshot needs and removes earlier snapshots that are not whole."""
EPILOG = """\
examples:
  annidx verify
  annidx verify --quiet || annidx build"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb: there are none."""


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx.store import history  # noqa: PLC0415 - heavy from here on

    checked = damaged = 0
    for damage in history.verify(index_path(args)):
        checked += 1
        if damage is None:
            continue
        damaged += 1
        if args.json:
            facts = {"path": damage.path, "expected": damage.expected, "found": damage.found}
            print_json({"damaged": str(damage), **facts})
        else:
            print(shown_text(str(damage)))
    fields = {"files": checked, "damaged": damaged}
    print_summary(args, fields, f"{checked:,} files checked, {damaged:,} damaged")
    return IndexDamaged.exit_code if damaged else 0
