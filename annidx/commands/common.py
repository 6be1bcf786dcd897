"""What the verbs share: options, JSON lines, readable paths, the closing line."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annidx.errors import UsageError
from annidx.found import Answer, Match, Pair
from annidx.kinds import Explanation
from annidx.place import default_index
from annidx.showing import plural, shown

if TYPE_CHECKING:
    from annidx.index import Index

SOME_UNREADABLE = 3


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every verb has, before or after its name."""
    unset: Any = argparse.SUPPRESS
    options = parser.add_argument_group("common options")
    options.add_argument(
        "--index",
        metavar="DIR",
        default=unset,
        help="the index directory (default: $ANNIDX_INDEX, else annidx/default in $XDG_DATA_HOME)",
    )
    options.add_argument(
        "--json", action="store_true", default=unset, help="one JSON object a line on stdout"
    )
    options.add_argument(
        "--quiet", action="store_true", default=unset, help="results and errors only"
    )
    options.add_argument("--verbose", action="store_true", default=unset, help="say more on stderr")


def add_lock_wait(parser: argparse.ArgumentParser, default_s: float = 0.0) -> None:
    """Add how long to wait for another writer."""
    parser.add_argument(
        "--lock-wait",
        type=seconds,
        default=default_s,
        metavar="S",
        help=f"wait for another build to end, S seconds at most (default {default_s:g})",
    )


def natural(text: str) -> int:
    """Read a whole number, 1 or more."""
    value = whole_number(text) if text.isdecimal() else 0
    if value < 1:
        message = f"{text}: expected a whole number, 1 or more"
        raise argparse.ArgumentTypeError(message)
    return value


def whole_number(text: str) -> int:
    """Read a whole number, 0 or more."""
    if not (text.isascii() and text.isdecimal()):
        message = f"{text}: expected a whole number, 0 or more"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def share(text: str) -> float:
    """Read a share, 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        message = f"{text}: expected a share from 0 to 1"
        raise argparse.ArgumentTypeError(message)
    return value


def seconds(text: str) -> float:
    """Read seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        message = f"{text}: expected seconds, 0 or more"
        raise argparse.ArgumentTypeError(message)
    return value


def byte_count(text: str) -> int:
    """Read bytes with an optional unit: 800M, 1.5G, 2GB, 1GiB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    if found is None:
        message = f"{text}: expected bytes, such as 800M or 2G"
        raise argparse.ArgumentTypeError(message)
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit.upper() or " "))


def comma_separated(text: str) -> list[str]:
    """Split names at commas; an empty text is an empty list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def index_path(args: argparse.Namespace) -> Path:
    """Return the index directory that the options name."""
    if args.index == "":  # an unset variable of a shell
        message = "--index is empty: name a folder"
        raise UsageError(message)
    return default_index() if args.index is None else Path(args.index).expanduser()


def open_index(args: argparse.Namespace) -> Index:
    """Open the index that the options name."""
    import annidx  # noqa: PLC0415 - heavy from here on
    from annidx.commands.meter import comparing_meter  # noqa: PLC0415 - imports this module

    return annidx.open(index_path(args), progress=comparing_meter(args))


def print_json(fields: Mapping[str, Any]) -> None:
    """Print one JSON line."""
    is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    print(json.dumps(fields, ensure_ascii=not is_utf8))


def print_summary(args: argparse.Namespace, fields: Mapping[str, Any], sentence: str) -> None:
    """End a verb: a JSON summary, or a sentence unless --quiet."""
    if args.json:
        print_json({"message_type": "summary", **fields})
    elif sentence and not args.quiet:
        print(sentence)


def warn(message: str) -> None:
    """Print one warning to stderr."""
    sys.stderr.write(f"annidx: warning: {shown(message)}\n")


class Paths:
    """Shows paths relative to what all roots have in common.

    Parameters
    ----------
    index : Index
    """

    def __init__(self, index: Index) -> None:
        roots = [root.path for root in index.manifest.roots]
        common = os.path.commonpath(roots) if roots else b"/"
        self.base = b"" if common == b"/" else common + b"/"

    def __call__(self, raw: bytes) -> str:
        return shown(raw[len(self.base) :] if raw.startswith(self.base) else raw)


def distance_text(distance: float) -> str:
    """Return a distance in eight columns, three digits behind the point when it is small."""
    return f"{distance:8.1f}" if distance >= 2 else f"{distance:8.3f}"


def nearness_text(found: Match | Pair) -> str:
    """Return in eight columns what orders matches: their chance, or their distance."""
    return distance_text(found.distance) if found.chance is None else f"{found.chance:8.0e}"


def differences_note(explanation: Explanation) -> str:
    """Return what differs, in brackets, or nothing."""
    return f"  ({explanation.words})" if explanation.words else ""


def answer_fields(
    answer: Answer | None, count: int, started: float, *, left_out: int
) -> dict[str, Any]:
    """Return the summary fields of a search; None when every query file was unreadable."""
    fields = {
        "complete": answer is not None and answer.complete,
        "exact": answer is not None and answer.exact,
        "engine": answer.engine if answer else None,
        "recall": answer.recall if answer else None,
        "count": count,
        "metric": answer.metric if answer else None,
        "cutoff": answer.cutoff if answer else None,
        "k": answer.k if answer else None,
        "snapshot": answer.snapshot if answer else None,
        "seconds": round(time.monotonic() - started, 4),
    }
    if answer and answer.chance is not None:
        fields["chance"] = answer.chance
    if answer and answer.limit is not None:
        fields["limit"] = answer.limit
    return fields | ({"companions_left_out": left_out} if left_out else {})


def companions_left_out(answers: Iterable[Answer]) -> int:
    """Count what answers left out for being companions."""
    return sum(answer.companions_left_out for answer in answers)


def together(answers: Iterable[Answer]) -> Answer | None:
    """Return one answer for several: complete and exact when all are; None without any."""
    given = list(answers)
    if not given:
        return None
    by_graph = [each for each in given if each.engine == "graph"]
    return replace((by_graph or given)[0], complete=all(each.complete for each in given))


def answer_sentence(fields: Mapping[str, Any]) -> str:
    """Return the limit and, in brackets, how an answer came about; then what it left out."""
    if fields["engine"] is None:
        return "the cutoff (no file could be read)"
    if fields["exact"]:
        engine = "exact engine"
    elif fields["recall"] is None:
        engine = "graph engine"
    else:
        engine = f"graph engine, recall {fields['recall']:.4f}"
    limits = {"-k": fields["k"], "--limit": fields.get("limit")}
    reached = " or ".join(f"{name} {most}" for name, most in limits.items() if most)
    complete = "complete" if fields["complete"] else f"cut short by {reached}"
    facts = ", ".join([fields["metric"], engine, complete, f"{fields['seconds']:.2f} s"])
    left_out = fields.get("companions_left_out", 0)
    note = f"\n{plural(left_out, 'RAW+JPEG companion')} left out (--with-companions)"
    chance = fields.get("chance")
    limit = f"{fields['cutoff']:g}" if chance is None else f"chance {chance:g}"
    return f"{limit} ({facts})" + (note if left_out else "")
