"""``annidx verify``: is every file of the index what it should be?"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from annidx.commands.common import index_path, natural, open_index, print_json, print_summary, share
from annidx.errors import IndexDamaged, UsageError
from annidx.showing import plural, shown

if TYPE_CHECKING:
    from annidx.engines import Measured

HELP = "check every file of the index against its hash"
DESCRIPTION = """\
Hash every file that any snapshot names, the manifests included, and name those that are not what
was published, with what was expected and what was found. Exit 12 when there is one. "annidx build"
mends what the current snapshot needs and removes earlier snapshots that are not whole.

With --recall it also asks a sample of pictures and compares the answers with an exact scan: the
recall of pairs within the default cutoff, for each metric that the index holds, with its 95 %
interval (Wilson). Exit 1 when the whole interval of one lies under --min-recall."""
EPILOG = """\
examples:
  annidx verify
  annidx verify --recall --metric thumb --sample 2000
  annidx verify --quiet || annidx build"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--recall", action="store_true", help="also measure how many of the pairs queries find"
    )
    parser.add_argument(
        "--sample",
        type=natural,
        metavar="N",
        help="with --recall: ask so many pictures (default 500)",
    )
    parser.add_argument(
        "--metric", metavar="NAME", help="with --recall: only this metric (default: all held)"
    )
    parser.add_argument(
        "--min-recall",
        type=share,
        metavar="R",
        help="with --recall: exit 1 when the whole interval of one lies under R (default 0.999)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    given = args.sample, args.metric, args.min_recall
    if not args.recall and given != (None, None, None):
        message = "--sample, --metric and --min-recall go with --recall"
        raise UsageError(message)
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
            print(shown(str(damage)))
    missed = _measure(args) if args.recall and not damaged else 0
    fields = {"files": checked, "damaged": damaged}
    fields |= {"recall_missed": missed} if args.recall else {}
    print_summary(args, fields, f"{checked:,} files checked, {damaged:,} damaged")
    return IndexDamaged.exit_code if damaged else int(missed > 0)


def _measure(args: argparse.Namespace) -> int:
    """Print the recall of each metric; return how many missed the target."""
    index = open_index(args)
    options = {"sample": args.sample} if args.sample else {}
    least = 0.999 if args.min_recall is None else args.min_recall
    missed = 0
    for metric in [args.metric] if args.metric else sorted(index.manifest.descriptors):
        found = index.recall(metric, **options)
        misses = found.certificate.misses(least)
        missed += misses
        if args.json:
            facts = {**found._asdict(), **asdict(found.certificate)}
            del facts["certificate"]
            print_json(facts)
        else:
            print(_sentence(found) + (f": UNDER {least:g}" if misses else ""))
    return missed


def _sentence(found: Measured) -> str:
    certificate = found.certificate
    asked = f"{plural(found.pictures, 'picture')} ({' and '.join(found.engines)} engine)"
    if certificate.recall is None:
        return f"{found.metric}: no pairs within {found.cutoff:g} of {asked}"
    share = f"{certificate.recall:.5f} ({certificate.low:.5f} to {certificate.high:.5f})"
    return (
        f"{found.metric}: recall {share} of {plural(certificate.pairs, 'pair')} within "
        f"{found.cutoff:g}, of {asked}"
    )
