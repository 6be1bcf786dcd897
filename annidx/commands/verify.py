"""``annidx verify``: is every file of the index what it should be?"""

from __future__ import annotations

import argparse

from annidx.commands.common import index_path, print_json, print_summary, shown_text
from annidx.errors import IndexDamaged

HELP = "check every file of the index against its hash"
DESCRIPTION = "Hash every file of the current snapshot and name those that are not as published."
EPILOG = """\
examples:
  annidx verify
  annidx verify --quiet || annidx build --rebuild"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb: there are none."""


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx.store import snapshot  # noqa: PLC0415 - heavy from here on

    index = index_path(args)
    manifest = snapshot.current_manifest(index)
    lines = snapshot.damaged_files(index, manifest) if manifest else []
    files = len(manifest.segments) + 2 * len(manifest.graphs) if manifest else 0
    for line in lines:
        if args.json:
            print_json({"damaged": line})
        else:
            print(shown_text(line))
    fields = {"files": files, "damaged": len(lines), "snapshot": manifest.number if manifest else 0}
    print_summary(args, fields, f"{files:,} files checked, {len(lines):,} damaged")
    return IndexDamaged.exit_code if lines else 0
