"""The command line: the parser, and one place where errors become exit codes."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annidx import __version__
from annidx.commands.common import add_common_options
from annidx.errors import AnnidxError
from annidx.showing import shown

VERBS = (
    *("build", "roots", "query", "has", "pairs", "groups", "export", "report"),
    *("review", "decide", "plan", "apply", "undo", "purge"),
    *("status", "verify", "snapshots", "rollback", "prune", "schedule", "serve", "demo"),
)
INTERRUPTED = 130

_EPILOG = """\
examples:
  annidx build ~/Photos                  make an index, or bring it up to date
  annidx pairs                           all pairs of near-duplicates, nearest first
  annidx groups --metric signature       the same put together, by another metric
  annidx query new.jpg -k 5              the five nearest pictures of a file
  annidx has *.jpg && echo "all there"   do I have these already?

exit codes:
  0 ok (nothing found included)   1 failed   2 usage   3 done, but some pictures are unreadable
  10 no index   11 locked by another build   12 index damaged   13 made by a newer annidx
  14 refused to publish   20 not found (has)   130 interrupted
"""


class VerbParser(argparse.ArgumentParser):
    """Refuses itself what it does not know: the usage that is shown is then the verb's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Or `--cutoff -inf` would lack its argument instead of making no sense.
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+|inf|nan)(e[+-]?\d+)?$", re.I)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse all of it."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown


def make_parser() -> argparse.ArgumentParser:
    """Return the parser with all verbs."""
    # Two of them: set_defaults() reaches into the actions that a parser shares with its parents.
    before, common = (VerbParser(add_help=False) for _ in range(2))
    add_common_options(before)
    add_common_options(common)
    parser = argparse.ArgumentParser(
        prog="annidx",
        description="Find near-duplicate pictures in photo archives.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        parents=[before],
    )
    parser.add_argument("--version", action="version", version=f"annidx {__version__}")
    parser.set_defaults(index=None, json=False, quiet=False, verbose=False)
    verbs = parser.add_subparsers(
        dest="verb", metavar="VERB", required=True, parser_class=VerbParser
    )
    for name in VERBS:
        module = importlib.import_module(f"annidx.commands.{name}")
        verb = verbs.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            parents=[common],
        )
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return its exit code."""
    code = _run(arguments)
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except OSError:
            # Python would try once more at its end, and make 120 of the exit code.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
            code = code or 1
    return code


def _run(arguments: Sequence[str] | None) -> int:
    args = argparse.Namespace(verb="")
    try:
        _prepare_streams()
        args = make_parser().parse_args(arguments)
        level = logging.INFO if args.verbose else logging.WARNING
        logging.basicConfig(level=level, format="annidx: %(message)s")
        code: int = args.run(args)
        sys.stdout.flush()
    except AnnidxError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        # A second Ctrl-C must not interrupt the last words.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return _complain("interrupted; the index stays at its last snapshot", INTERRUPTED)
    except BrokenPipeError:
        # `annidx pairs | head`: whoever read us has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _complain(_reason(error, building=args.verb == "build"), 1)
    return code


def _reason(error: OSError, *, building: bool) -> str:
    named = error.filename2 or error.filename  # of a rename, where it was to go
    where = f"{os.fsdecode(named)}: " if named else ""
    hint = "; the index stays at its last snapshot" if building else ""
    if building and error.errno == errno.ENOSPC:
        hint += ": free some space and build again"
    return f"{where}{error.strerror or error}{hint}"


def _prepare_streams() -> None:
    """Make stdout and stderr take whatever is written: closed ones, names they cannot show."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed: its number must not go to another file
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(message: str, code: int) -> int:
    """Print one line to stderr; return the exit code, which says it to whoever cannot be told."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"annidx: {shown(message)}\n")
    return code
