"""``annidx query``: the neighbours of some files, or of every picture."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from annidx.asking import NeighbourOptions, QueryOptions, metric_of
from annidx.commands.common import (
    SOME_UNREADABLE,
    Paths,
    answer_fields,
    answer_sentence,
    companions_left_out,
    differences_note,
    nearness_text,
    open_index,
    print_json,
    print_summary,
    together,
    warn,
)
from annidx.commands.searching import add_search_options, search_options
from annidx.errors import PictureUnreadable, UsageError
from annidx.fields import match_fields, path_fields
from annidx.found import Answer, Match, Matches
from annidx.model import Record
from annidx.native import quiet_stderr
from annidx.showing import plural, shown

if TYPE_CHECKING:
    from annidx.index import Index

HELP = "the nearest pictures of files, or of every picture (--all)"
DESCRIPTION = """\
Print the k nearest pictures within the cutoff for each FILE, nearest first. A FILE need not be in
the archive; one that is there is not its own neighbour, nor is its RAW or JPEG half. Single files
and lists are answered by the graph and re-ranked by exact distances, unless a scan is cheaper; the
last line says which it was. With --transforms each FILE is also tried flipped or turned."""
EPILOG = """\
examples:
  annidx query new.jpg
  annidx query --metric signature -k 3 *.jpg
  annidx query --match loose --transforms all scan.jpg
  annidx query --path ~/Photos/2019 --min-size 100kB new.jpg
  find inbox -name '*.jpg' -print0 | annidx query -0
  annidx query --all -k 1 --since 7d --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_files(parser)
    parser.add_argument("--all", action="store_true", help="every picture of the archive")
    add_search_options(parser, QueryOptions, NeighbourOptions)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the files that are asked about, see :func:`file_names`."""
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="a picture; - reads names on stdin"
    )
    parser.add_argument(
        "-0", dest="null", action="store_true", help="names on stdin end with a NUL byte"
    )
    # argparse takes the -3 of `-k -3` for an option once there is one that looks like a number.
    parser._has_negative_number_optionals.clear()


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    started = time.monotonic()
    names = None if args.all else file_names(args)
    if args.all and (args.files or args.null):
        message = "give either --all or FILEs, not both"
        raise UsageError(message)
    found: Sequence[Matches]
    if names is None:
        options = search_options(args, NeighbourOptions, otherwise="goes with FILEs, not --all")
        index = open_index(args)
        found = neighbours = index.neighbours(**options)
        answer: Answer | None = neighbours.answer
        left_out = companions_left_out([neighbours.answer])
        asked, failed = len(index), 0
    else:
        options = search_options(args, QueryOptions, otherwise="is for pairs: give --all")
        index = open_index(args)
        records, failed = read_files(
            names, metric_of(QueryOptions, options, index.manifest.descriptors)
        )
        found = index.query_many(records, **options)
        answer = together(matches.answer for matches in found)
        left_out = companions_left_out(matches.answer for matches in found)
        asked = len(records)
    count = print_matches(args, index, found, asked)
    fields = answer_fields(answer, count, started, left_out=left_out)
    fields |= {"queries": asked, "failed": failed}
    sentence = f"{plural(count, 'neighbour')} of {plural(asked, 'picture')} within "
    print_summary(args, fields, sentence + answer_sentence(fields))
    return exit_code(failed, asked)


def file_names(args: argparse.Namespace) -> list[str]:
    """Return the files that are asked about, those listed on stdin included."""
    if "" in args.files:  # an unset variable of a shell
        message = "the name of a FILE is empty: name a picture"
        raise UsageError(message)
    names = [name for name in args.files if name != "-"]
    if "-" in args.files or args.null:
        separator = b"\0" if args.null else b"\n"
        listed = sys.stdin.buffer.read().split(separator)
        names += [os.fsdecode(name) for name in listed if name]
    elif not names:
        message = "name at least one FILE, or - to read a list on stdin"
        if "all" in args:
            message += ", or --all"
        raise UsageError(message)
    return names


def read_files(names: Iterable[str], metric: str) -> tuple[list[Record], int]:
    """Read query files for a metric; warn about each that cannot be read and count them."""
    from annidx.queries import read_query  # noqa: PLC0415 - heavy from here on

    records = []
    failed = []
    with quiet_stderr():
        for name in names:
            try:
                records.append(read_query(name, metric))
            except PictureUnreadable as error:
                failed.append(str(error))
    for message in failed:
        warn(message)
    return records, len(failed)


def exit_code(failed: int, asked: int) -> int:
    """Return 0 when all files were read, 3 when some were, 1 when none was."""
    if failed == 0:
        return 0
    return SOME_UNREADABLE if asked else 1


def print_matches(
    args: argparse.Namespace, index: Index, found: Iterable[Matches], asked: int
) -> int:
    """Print the matches of each query; return how many there were."""
    paths = Paths(index)
    count = 0
    for matches in found:
        query = os.fsencode(matches.query)
        count += len(matches)
        if args.json:
            for match in matches:
                print_json({**path_fields("query", query), **match_fields(match)})
        elif matches or asked == 1:
            print(paths(query) if args.all else shown(query))
            for match in matches:
                size = f"{match.width}x{match.height}"
                columns = f"{nearness_text(match)}  {match.kind:11}  {size:>11}"
                print(f"{columns}  {paths(match.raw_path)}{note(match)}")
            if not matches:
                print("  no neighbour within the cutoff")
    return count


def note(match: Match) -> str:
    """Return what is to be said of a match beside its columns, in brackets."""
    turned = f"  ({match.transform})" if match.transform != "none" else ""
    if match.explanation is not None:
        turned = differences_note(match.explanation)
    return turned + ("  (both nearly one flat colour)" if match.low_information else "")
