"""``annidx has``: do I have this picture?"""

from __future__ import annotations

import argparse
import os
import time

from annidx.asking import HasOptions, metric_of
from annidx.commands.common import (
    Paths,
    answer_fields,
    answer_sentence,
    companions_left_out,
    nearness_text,
    open_index,
    print_json,
    print_summary,
    together,
)
from annidx.commands.query import add_files, exit_code, file_names, note, read_files
from annidx.commands.searching import add_search_options, search_options
from annidx.fields import match_fields, path_fields
from annidx.showing import plural, shown

HELP = "do I have this picture? exit 0 found, 20 not"
DESCRIPTION = """\
Tell for each FILE whether the archive has it within the cutoff, and print the nearest picture
either way. A file of the archive is not found by itself, nor by its RAW or JPEG half. Exit code 0:
all are there; 20: at least one is not."""
EPILOG = """\
examples:
  annidx has card/DSC_0042.JPG || cp card/DSC_0042.JPG ~/Photos/inbox/
  annidx has --metric signature --cutoff 0.2 upload.jpg
  annidx has --transforms flips --path ~/Photos/2019 upload.jpg"""

NOT_FOUND = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_files(parser)
    add_search_options(parser, HasOptions)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    started = time.monotonic()
    names = file_names(args)
    options = search_options(args, HasOptions)
    index = open_index(args)
    records, failed = read_files(names, metric_of(HasOptions, options, index.manifest.descriptors))
    answers = index.has_many(records, **options)
    paths = Paths(index)
    for matches in answers:
        query = os.fsencode(matches.query)
        near = matches.nearest
        if args.json:
            fields = match_fields(near) if near else {"path": None, "distance": None}
            print_json({**path_fields("query", query), "found": bool(matches), **fields})
            continue
        word = "found" if matches else "not found"
        print(f"{word}: {shown(query)}")
        if near:
            columns = f"{nearness_text(near)}  {near.kind:11}"
            print(f"{columns}  {paths(near.raw_path)}{note(near)}")
    found = sum(bool(matches) for matches in answers)
    answer = together(matches.answer for matches in answers)
    left_out = companions_left_out(matches.answer for matches in answers)
    fields = answer_fields(answer, found, started, left_out=left_out)
    fields |= {"queries": len(records), "failed": failed}
    sentence = f"{found:,} of {plural(len(records), 'picture')} found within "
    print_summary(args, fields, sentence + answer_sentence({**fields, "complete": True}))
    if failed:
        return exit_code(failed, len(records))
    return 0 if found == len(records) else NOT_FOUND
