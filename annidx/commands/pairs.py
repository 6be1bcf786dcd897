"""``annidx pairs``: all pairs within the cutoff, nearest first."""

from __future__ import annotations

import argparse
import time

from annidx.asking import PairOptions
from annidx.commands.common import (
    Paths,
    answer_fields,
    answer_sentence,
    companions_left_out,
    differences_note,
    nearness_text,
    open_index,
    print_json,
    print_summary,
)
from annidx.commands.searching import add_search_options, search_options
from annidx.commands.viewing import Viewer, add_open_with
from annidx.showing import plural

HELP = "all pairs of near-duplicates, nearest first"
DESCRIPTION = """\
Print every pair of pictures within the cutoff, nearest first. Unless the graph is cheaper (few new
pictures against many) all are joined by the exact engine: no pair is missed. A RAW file and the
JPEG or HEIC of its stem in its folder are no pair."""
EPILOG = """\
examples:
  annidx pairs
  annidx pairs --cutoff 100 --json
  annidx pairs --match strict --limit 20
  annidx pairs --between ~/Photos /mnt/card
  annidx pairs --since 7d --reference ~/Photos/albums
  annidx pairs --open-with feh            one after the other, nearest first, next on Enter
  annidx pairs --metric signature | less"""

_ALIGNED = 2000
"""So many pairs are held back to align their columns; beyond, lines come as they are."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_open_with(parser)
    add_search_options(parser, PairOptions)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx.exports import pair_fields  # noqa: PLC0415 - heavy from here on

    started = time.monotonic()
    options = search_options(args, PairOptions)
    index = open_index(args)
    found = index.find_pairs(**options)
    paths = Paths(index)
    width = max((len(paths(pair.raw_a)) for pair in found[:_ALIGNED]), default=0)
    viewer = None if args.open_with is None else Viewer(args.open_with)
    for pair in found:
        if args.json:
            print_json(pair_fields(pair))
        else:
            start = f"{nearness_text(pair)}  {pair.kind:11}"
            said = "" if pair.explanation is None else differences_note(pair.explanation)
            print(f"{start}  {paths(pair.raw_a):{width}}  {paths(pair.raw_b)}{said}")
        if viewer is not None and not viewer.show(pair.raw_a, pair.raw_b):
            break
    if viewer is not None:
        viewer.close()
    left_out = companions_left_out([found.answer])
    fields = answer_fields(found.answer, len(found), started, left_out=left_out)
    sentence = f"{plural(len(found), 'pair')} of {plural(len(index), 'picture')} within "
    print_summary(args, fields, sentence + answer_sentence(fields))
    return 0
