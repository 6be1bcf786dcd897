"""``annidx export``: pictures, pairs and groups as Parquet, CSV or JSON lines."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annidx.asking import GroupOptions, PairOptions
from annidx.commands.common import (
    add_common_options,
    answer_fields,
    answer_sentence,
    companions_left_out,
    open_index,
    print_summary,
)
from annidx.commands.searching import add_search_options, search_options
from annidx.errors import UsageError
from annidx.fields import path_fields
from annidx.showing import plural

if TYPE_CHECKING:
    from annidx.found import Groups, Pairs
    from annidx.index import Index
    from annidx.store.sinks import Format
    from annidx.store.tables import Export

HELP = "pictures, pairs or groups as Parquet, CSV or JSON lines"
DESCRIPTION = """\
Write what is in the index for other tools. docs/parquet.md describes the columns and has examples
for DuckDB and Polars. Only data goes to stdout, the summary then goes to stderr."""
EPILOG = """\
examples:
  annidx export pictures -o pictures.parquet
  annidx export pictures --failed --format csv
  annidx export pairs --metric signature | jq .distance
  annidx export groups --cutoff 100 -o groups.csv"""

_WHAT = {
    "pictures": "one row a picture: its path, size, times, pixels, camera, hashes",
    "pairs": "one row a pair of near-duplicates, nearest first",
    "groups": "one row a picture that is in a group of near-duplicates",
}
_FORMATS: tuple[Format, ...] = ("parquet", "csv", "jsonl")
_STDOUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    chosen = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    common = argparse.ArgumentParser(add_help=False)
    add_common_options(common)
    for name, text in _WHAT.items():
        part = chosen.add_parser(
            name, help=text, description=f"{text}.", allow_abbrev=False, parents=[common]
        )
        _add_output(part)
        if name == "pictures":
            _add_picture_options(part)
        else:
            add_search_options(part, PairOptions if name == "pairs" else GroupOptions)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=_FORMATS, help="default: as FILE is named, else jsonl (JSON lines)"
    )
    parser.add_argument(
        "-o",
        "--output",
        default=_STDOUT,
        metavar="FILE",
        help="written whole or not at all, over one that is there (default: - for stdout)",
    )


def _add_picture_options(parser: argparse.ArgumentParser) -> None:
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--descriptors",
        action="store_true",
        help="also the vectors: bytes in Parquet, base64 in CSV and JSON lines",
    )
    either.add_argument(
        "--failed", action="store_true", help="instead, the files that could not be read, and why"
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx import exports  # noqa: PLC0415 - heavy from here on

    started = time.monotonic()
    form = _form(args)
    index = open_index(args)
    found = None if args.what == "pictures" else _search(args, index)
    if found is not None:
        export = exports.of_answer(found)
    elif args.failed:
        export = exports.failed(index.snapshot)
    else:
        export = exports.pictures(index.snapshot, descriptors=args.descriptors)
    rows = _write(args.output, export, form)
    fields, sentence = _summary(args, index, found, rows, started)
    fields |= {"rows": rows, "format": form}
    if args.output != _STDOUT:
        fields |= path_fields("file", os.fsencode(Path(args.output).absolute()))
    # Data stays alone; but JSON lines that --json asks for end with the summary, as of any verb.
    alone = args.output == _STDOUT and not (args.json and form == "jsonl")
    with contextlib.redirect_stdout(sys.stderr if alone else sys.stdout):
        print_summary(args, fields, f"{plural(rows, 'row')} written as {form}: {sentence}")
    return 0


def _form(args: argparse.Namespace) -> Format:
    """Return the format that was asked for, by its name or by that of the file."""
    if args.output == "":  # an unset variable of a shell
        message = f"--output is empty: name a file, or {_STDOUT} for stdout"
        raise UsageError(message)
    suffix = Path(args.output).suffix.lower().removeprefix(".")
    named: list[Format] = [form for form in _FORMATS if form == (args.format or suffix)]
    form = named[0] if named else "jsonl"
    if form == "parquet" and args.output == _STDOUT and sys.stdout.isatty():
        message = "Parquet is nothing for a terminal: name a file with --output, or redirect stdout"
        raise UsageError(message)
    return form


def _search(args: argparse.Namespace, index: Index) -> Pairs | Groups:
    if args.what == "pairs":
        return index.find_pairs(**search_options(args, PairOptions))
    return index.groups(**search_options(args, GroupOptions))


def _write(output: str, export: Export, form: Format) -> int:
    from annidx.store import files, sinks  # noqa: PLC0415 - heavy

    if output == _STDOUT:
        sys.stdout.flush()
        return sinks.write(export, sys.stdout.buffer, form)
    with files.replacing(Path(output)) as handle:
        return sinks.write(export, handle, form)


def _summary(
    args: argparse.Namespace,
    index: Index,
    found: Pairs | Groups | None,
    rows: int,
    started: float,
) -> tuple[dict[str, Any], str]:
    """Return the fields of the summary, and how a sentence says the same."""
    if found is None:
        number = index.manifest.number
        seconds = round(time.monotonic() - started, 4)
        fields = {"count": rows, "snapshot": number, "seconds": seconds}
        noun = "unreadable file" if args.failed else "picture"
        return fields, f"{plural(rows, noun)} of snapshot {number} ({seconds:.2f} s)"
    left_out = companions_left_out([found.answer])
    fields = answer_fields(found.answer, len(found), started, left_out=left_out)
    noun = args.what.removesuffix("s")
    return fields, f"{plural(len(found), noun)} within {answer_sentence(fields)}"
