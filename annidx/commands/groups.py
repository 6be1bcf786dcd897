"""``annidx groups``: near-duplicates put together."""

from __future__ import annotations

import argparse
import time

from annidx.asking import GroupOptions, Search
from annidx.commands.common import (
    Paths,
    answer_fields,
    answer_sentence,
    companions_left_out,
    distance_text,
    open_index,
    print_json,
    print_summary,
)
from annidx.commands.searching import add_search_options, search_options
from annidx.fields import group_fields
from annidx.showing import bytes_text, plural

HELP = "groups of near-duplicates"
DESCRIPTION = """\
Put pictures together that are pairs within the cutoff, the largest group first. The rule:

  connected  whatever a chain of pairs joins; the diameter may exceed the cutoff
  complete   every two members are within the cutoff
  star       every member is within the cutoff of one of them, the centre

A group states its diameter, the largest distance of two members. Pairs whose signatures differ join
nothing; pictures of nearly one flat colour join only byte-identical ones; a RAW file and the JPEG
or HEIC of its stem in its folder make no group."""
EPILOG = """\
examples:
  annidx groups
  annidx groups --linkage complete
  annidx groups --metric signature --cutoff 0.2
  annidx groups --reference ~/Photos/albums --min-pixels 640x480
  annidx groups --json | jq .paths"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_search_options(parser, GroupOptions)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    started = time.monotonic()
    options = search_options(args, GroupOptions)
    index = open_index(args)
    found = index.groups(**options)
    paths = Paths(index)
    for group in found:
        if args.json:
            print_json(group_fields(group))
            continue
        spread = f"diameter {distance_text(group.diameter).strip()}"
        freed = f"{bytes_text(group.freed_bytes)} could be freed"
        print(f"group {group.number}: {len(group.raw_paths)} pictures, {spread}, {freed}")
        for path in group.raw_paths:
            print(f"  {paths(path)}{'  (reference)' if path in group.protected else ''}")
    grouped = sum(len(group.raw_paths) for group in found)
    left_out = companions_left_out([found.answer])
    fields = answer_fields(found.answer, len(found), started, left_out=left_out)
    fields |= {"linkage": Search(**options).linkage, "pictures": grouped}
    fields |= {"low_information": found.low_information, "unconfirmed": found.unconfirmed}
    sentence = f"{plural(len(found), 'group')} of {plural(grouped, 'picture')} within "
    sentence += answer_sentence(fields)
    if found.low_information:
        sentence += f"\n{plural(found.low_information, 'picture')} of nearly one flat colour set "
        sentence += "aside: being near says nothing about them"
    if found.unconfirmed:
        sentence += (
            f"\n{plural(found.unconfirmed, 'pair')} not joined: their signatures differ, as "
        )
        sentence += "those of different pages of writing do (--unconfirmed)"
    print_summary(args, fields, sentence)
    return 0
