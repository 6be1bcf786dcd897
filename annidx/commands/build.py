"""``annidx build``: bring the index up to date."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annidx.commands import metrics
from annidx.commands.common import (
    SOME_UNREADABLE,
    add_lock_wait,
    byte_count,
    comma_separated,
    index_path,
    natural,
    print_summary,
    seconds,
    share,
    warn,
)
from annidx.commands.meter import Meter
from annidx.descriptors import DEFAULT_DESCRIPTORS, DESCRIPTORS
from annidx.model import BuildReport
from annidx.showing import plural, shown

HELP = "bring the index up to date"
DESCRIPTION = """\
Walk the roots, extract descriptors of what is new or changed, make graphs and publish a new
snapshot. ROOTs are added to those that the index knows; without ROOT all known ones are brought
up to date. Nothing is decoded and nothing published when nothing changed."""
EPILOG = """\
Left out are hidden files and folders, thumbnails and catalogues of derivatives (@eaDir,
*.photoslibrary, *.lrdata, ...), symbolic links, second names of one file, and other indexes.

Ctrl-C or a crash loses next to nothing: the next build takes over what was extracted.

With --quiet nothing is printed when all went well, and one line on stderr when something did not:
a root that is out of sight, a folder that cannot be listed, a picture that could not be read and
was no failure before. An old broken picture is no news, not even after it was moved; its copy is.

A root that is missing or suddenly empty keeps its pictures. One that is there and has lost many is
refused (exit 14, --max-removed): the index stays as it was until "annidx build --force".

Damaged files of the index are mended: a graph is made anew, the pictures of a segment are extracted
again. Snapshots beyond the 3 newest and the last 24 hours are removed.

examples:
  annidx build ~/Photos /mnt/scans
  annidx build --exclude 'screenshots/*' --exclude '*.gif'
  annidx build --quiet            from cron: silent unless something is wrong
  annidx schedule --print cron    the line for a crontab; or units for systemd"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("roots", nargs="*", metavar="ROOT", help="a folder of pictures")
    parser.add_argument(
        "--exclude",
        action="append",
        metavar="GLOB",
        help="leave out names or paths below the root; remembered; '' forgets them all",
    )
    parser.add_argument(
        "--graphs",
        metavar="METRICS",
        help="also make graphs for these metrics, with commas; remembered",
    )
    parser.add_argument("--workers", type=natural, metavar="N", help="worker processes")
    parser.add_argument(
        "--timeout",
        type=_more_than_0,
        default=60.0,
        metavar="S",
        help="seconds for one picture (default 60); large ones get more",
    )
    parser.add_argument(
        "--memory",
        type=_size,
        metavar="SIZE",
        help="for pictures being decoded, all workers together, such as 2G; what needs more is "
        "'too-large' (default 700M, and 150M for each worker but one)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=_megapixels,
        metavar="N",
        help="a picture with more is 'too-large' (default 400)",
    )
    parser.add_argument(
        "--descriptors",
        metavar="NAMES",
        help="what to compute of each picture, with commas; remembered; another set extracts "
        f"everything anew ({', '.join(DESCRIPTORS)}; default {','.join(DEFAULT_DESCRIPTORS)})",
    )
    add_nightly_options(parser, fail_on="none", lock_wait_s=0.0)
    parser.add_argument("--rebuild", action="store_true", help="extract everything anew")
    parser.add_argument(
        "--retry-failed", action="store_true", help="look again at files that could not be read"
    )
    parser.add_argument("--rebuild-graphs", action="store_true", help="make all graphs anew")
    parser.add_argument(
        "--min-recall",
        type=share,
        default=0.999,
        metavar="R",
        help="a graph whose measured recall lies wholly under R is made anew, or not used "
        "(default 0.999)",
    )
    parser.add_argument(
        "--max-removed",
        metavar="N",
        help="refuse to publish when a root has lost more pictures than N, or than N%% of them "
        "(default: 100 or 1%%, whichever is more)",
    )
    parser.add_argument("--force", action="store_true", help="publish whatever is lost")


def add_nightly_options(
    parser: argparse.ArgumentParser, *, fail_on: str, lock_wait_s: float
) -> None:
    """Add the options that a build at night wants, with their defaults."""
    parser.add_argument(
        "--fail-on",
        choices=("new", "any", "none"),
        default=fail_on,
        help="exit 1 when pictures could not be read: new, those that the snapshot before did not "
        f"know as failures; any; or none (default {fail_on}). The snapshot is published anyway",
    )
    parser.add_argument(
        "--metrics-file",
        metavar="FILE",
        help="write metrics for Prometheus (its textfile collector) here when the build went "
        "through; else FILE is left as it is, so that its last success grows old",
    )
    add_lock_wait(parser, lock_wait_s)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    metrics_file = metrics.checked(args.metrics_file)
    import annidx  # noqa: PLC0415 - heavy from here on

    options = annidx.Options(
        exclude=args.exclude,
        graph_metrics=_names(args.graphs),
        workers=args.workers,
        timeout_s=args.timeout,
        memory=args.memory,
        max_megapixels=args.max_megapixels,
        descriptors=_names(args.descriptors),
        lock_wait_s=args.lock_wait,
        rebuild=args.rebuild,
        rebuild_graphs=args.rebuild_graphs,
        min_recall=args.min_recall,
        retry_failed=args.retry_failed,
        max_removed=args.max_removed,
        force=args.force,
    )
    index = index_path(args)
    with Meter(args) as meter:
        report = annidx.build(args.roots, index=index, options=options, progress=meter)
    alarmed = _warn_of(args, report, index, metrics_file)
    print_summary(args, summary(report), sentence(report))
    unread = report.failed or report.left_out.get("unreadable folder")
    return 1 if alarmed else SOME_UNREADABLE if unread else 0


def _warn_of(
    args: argparse.Namespace, report: BuildReport, index: Path, metrics_file: Path | None
) -> bool:
    """Write the metrics, and what is trouble to stderr; return whether the build is to fail."""
    alarmed = {"new": report.failed_new, "any": report.failed, "none": 0}[args.fail_on] > 0
    troubles = list(report.warnings)
    if alarmed or (args.quiet and report.failed_new):
        troubles.insert(0, _failures(report, index))
    if metrics_file and (trouble := _write_metrics(metrics_file, report, index)):
        troubles.append(trouble)
        alarmed = True
    if args.quiet and troubles:
        more = len(troubles) - _TROUBLES
        troubles = [" | ".join(troubles[:_TROUBLES]) + (f" | and {more:,} more" * (more > 0))]
    for trouble in troubles:
        warn(trouble)
    return alarmed


def _failures(report: BuildReport, index: Path) -> str:
    """Return the line about files that could not be read; it names one that is news."""
    text = f"{index}: {plural(report.failed, 'file')} could not be read"
    if report.failed_new:
        text += f", {report.failed_new:,} of them new: {shown(report.new_failures[0])}"
    if report.failed_new > 1:
        text += f" and {report.failed_new - 1:,} more"
    return f"{text}; annidx status --failed names them all"


def _write_metrics(path: Path, report: BuildReport, index: Path) -> str:
    """Write the metrics of a build that went through; return what went wrong, if it did."""
    from annidx.store import files, snapshot  # noqa: PLC0415 - heavy from here on

    text = metrics.text_of(report, snapshot.current(index).manifest, index, time.time())
    try:
        with files.replacing(path, metrics.MODE) as handle:
            handle.write(text.encode())
    except OSError as error:
        return f"{path}: the metrics were not written: {error.strerror}. The index is up to date."
    return ""


def summary(report: BuildReport) -> dict[str, Any]:
    """Return the JSON summary of a build."""
    fields = {**asdict(report), "seconds": round(report.seconds, 3)}
    del fields["new_failures"]
    return fields | {"failed_new": report.failed_new}


def sentence(report: BuildReport) -> str:
    """Return what a build did, for people."""
    changes = f"{report.added:,} added, {report.removed:,} removed"
    if report.adopted:
        changes += f", {report.adopted:,} taken over from an interrupted build"
    if report.images == 0:
        first = "no pictures found"
    else:
        first = plural(report.images, "picture") + " in the index"
    state = f"snapshot {report.snapshot}" if report.published else "nothing changed"
    text = f"{first}: {changes}, {report.failed:,} unreadable; {state} ({report.seconds:.1f} s)"
    if report.failed:
        text += "\nannidx status --failed names the unreadable ones"
    if report.left_out.get("raw-unsupported"):
        text += "\ncamera RAW files need rawpy: .venv/bin/pip install rawpy, then build again"
    left = {reason: count for reason, count in report.left_out.items() if count}
    if left:
        text += "\nleft out: " + ", ".join(f"{count:,} {reason}" for reason, count in left.items())
    return text


SMALLEST_MEMORY = 50_000_000
_TROUBLES = 3  # those that one line of --quiet says in full


def _size(text: str) -> int:
    """Read bytes that a build may take."""
    value = byte_count(text)
    if value < SMALLEST_MEMORY:
        message = f"{text}: expected at least {SMALLEST_MEMORY // 10**6}M"
        raise argparse.ArgumentTypeError(message)
    return value


def _names(text: str | None) -> list[str] | None:
    """Split names at commas; None stays None, and an empty text is an empty list."""
    return None if text is None else comma_separated(text)


def _megapixels(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        message = f"{text}: expected megapixels, more than 0"
        raise argparse.ArgumentTypeError(message)
    return value


def _more_than_0(text: str) -> float:
    value = seconds(text)
    if value == 0:
        message = f"{text}: expected more than 0 seconds"
        raise argparse.ArgumentTypeError(message)
    return value
