"""Progress: of a build a bar on a terminal, status lines with ``--json``; of a search a bar."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from annidx.commands.common import print_json
from annidx.model import Progress

WALKING = "{desc}: {n_fmt} [{elapsed}, {rate_fmt}]"
WAITING = "{desc} [{elapsed}]"
STAGES = {
    "graph": "building the graph ...",
    "publish": "publishing ...",
    "chance": "measuring chances ...",
}


def comparing_meter(args: argparse.Namespace) -> Callable[[int, int], None] | None:
    """Return what shows on a terminal how many pictures were compared; None elsewhere."""
    if not _shows_bar(args):
        return None
    bars: list[Any] = []

    def show(done: int, of: int) -> None:
        if not bars:
            from tqdm import tqdm  # noqa: PLC0415 - 84 ms that only a terminal needs

            bars.append(tqdm(desc="comparing", unit=" pictures", total=of, leave=False, delay=1))
        bars[0].update(done - bars[0].n)
        if done >= of:
            bars.pop().close()

    return show


def _shows_bar(args: argparse.Namespace) -> bool:
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return terminal and not args.quiet and not args.json


class Meter:
    """Shows progress: a bar on a terminal, status lines with --json, else nothing."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._json = args.json
        self._shows_bar = _shows_bar(args)
        self._bar: Any = None
        self._last = time.monotonic()
        self._started = self._last

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        """Take the state of the build."""
        if self._shows_bar:
            self._draw(progress)
        elif self._json and time.monotonic() - self._last >= 0.5:
            self._last = time.monotonic()
            print_json(self._status(progress))
            sys.stdout.flush()  # whoever reads this wants to know it now

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            from tqdm import tqdm  # noqa: PLC0415 - 84 ms that only a terminal needs

            self._bar = tqdm(
                desc="looking", unit="B", unit_scale=True, leave=False, bar_format=WALKING
            )
        failed = f", {progress.failed:,} unreadable" if progress.failed else ""
        if progress.stage == "extract":
            more = "+" if progress.walking else ""
            text = f"{progress.done:,}/{progress.found:,}{more} files{failed}"
            if self._bar.total is None and not progress.walking:
                # Only now is it known how much there is: an ETA before would be made up.
                self._bar.bar_format, self._bar.total = None, progress.bytes_found
            self._bar.set_description(text, refresh=False)
        else:
            self._bar.bar_format = WAITING
            self._bar.set_description(STAGES.get(progress.stage, progress.stage))
        self._bar.update(progress.bytes_done - self._bar.n)

    def _status(self, progress: Progress) -> dict[str, Any]:
        share = progress.bytes_done / progress.bytes_found if progress.bytes_found else 0.0
        spent = time.monotonic() - self._started
        is_open = progress.walking or progress.stage != "extract"  # nobody knows how long
        remaining = round(spent * (1 - share) / share, 1) if share else None
        return {
            "message_type": "status",
            "stage": progress.stage,
            "percent_done": round(share, 4),
            "seconds_remaining": None if is_open else remaining,
            "walking": progress.walking,
            "files_done": progress.done,
            "total_files": progress.found,
            "bytes_done": progress.bytes_done,
            "total_bytes": progress.bytes_found,
            "errors": progress.failed,
        }
