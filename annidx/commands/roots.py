"""``annidx roots``: what is indexed."""

from __future__ import annotations

import argparse

from annidx.commands.common import (
    add_common_options,
    add_lock_wait,
    index_path,
    print_json,
    print_summary,
)
from annidx.fields import path_fields
from annidx.showing import plural, shown

HELP = "list, add, remove or move the folders that are indexed"
DESCRIPTION = """\
A root is a folder that build walks. Adding one here only notes it; the next build reads it.
Removing one takes its pictures out of the index and touches no file of it. Moving one tells the
index that the folder lies elsewhere now, without reading anything again."""
EPILOG = """\
examples:
  annidx roots list
  annidx roots add /mnt/scans
  annidx roots remove ~/Downloads
  annidx roots move /media/old-disk/photos /mnt/new-disk/photos"""


_ACTIONS = {
    "list": "list the roots",
    "add": "add roots; the next build reads them",
    "remove": "take a root and its pictures out of the index",
    "move": "a root lies elsewhere now",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    common = argparse.ArgumentParser(add_help=False)
    add_common_options(common)
    made = {
        name: actions.add_parser(name, help=text, allow_abbrev=False, parents=[common])
        for name, text in _ACTIONS.items()
    }
    for name in ("add", "remove", "move"):
        add_lock_wait(made[name])
    made["add"].add_argument("roots", nargs="+", metavar="ROOT", help="a folder of pictures")
    as_listed = 'as "annidx roots list" shows it'
    made["remove"].add_argument("root", metavar="ROOT", help=as_listed)
    moved = made["move"]
    moved.add_argument("old", metavar="OLD", help=as_listed)
    moved.add_argument("new", metavar="NEW", help="the folder where its pictures lie now")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx import roots  # noqa: PLC0415 - heavy from here on
    from annidx.store import snapshot  # noqa: PLC0415

    index = index_path(args)
    if args.action == "list":
        manifest = snapshot.current(index).manifest
        sentence = plural(len(manifest.roots), "root")
    elif args.action == "add":
        manifest = roots.add(index, args.roots, lock_wait_s=args.lock_wait)
        sentence = 'noted; "annidx build" reads them'
    elif args.action == "remove":
        manifest, pictures = roots.remove(index, args.root, lock_wait_s=args.lock_wait)
        sentence = f"{plural(pictures, 'picture')} taken out of the index"
    else:
        manifest = roots.move(index, args.old, args.new, lock_wait_s=args.lock_wait)
        sentence = "moved; nothing was read again"
    for root in manifest.roots:
        if args.json:
            print_json({**path_fields("path", root.path), "status": root.status})
        else:
            print(f"{root.status:8} {shown(root.path)}")
    fields = {"roots": len(manifest.roots), "snapshot": manifest.number}
    print_summary(args, fields, sentence)
    return 0
