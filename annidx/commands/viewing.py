"""Pairs in the user's own viewer, one after the other."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence

from annidx.errors import UsageError

VARIABLE = "ANNIDX_VIEWER"
_ONE_BY_ONE = "xdg-open"  # takes one file at a time


def add_open_with(parser: argparse.ArgumentParser) -> None:
    """Add the option that opens pairs."""
    parser.add_argument(
        "--open-with",
        nargs="?",
        const="",
        metavar="COMMAND",
        help="open each pair in your own viewer, the next one on Enter; both files follow the "
        f"COMMAND (default: ${VARIABLE}, else xdg-open)",
    )


class Viewer:
    """Opens pairs of files and waits for Enter.

    Parameters
    ----------
    command : str
        As a shell would split it; empty for the default.
    """

    def __init__(self, command: str) -> None:
        text = command or os.environ.get(VARIABLE) or _ONE_BY_ONE
        try:
            self._words = shlex.split(text)
        except ValueError as error:
            message = f"--open-with {text}: {error}"
            raise UsageError(message) from None
        self._running: list[subprocess.Popen[bytes]] = []

    def show(self, one: bytes, other: bytes) -> bool:
        """Open two files; tell, once the user has answered, whether to go on.

        Raises
        ------
        UsageError
            When the viewer cannot be started.
        """
        apart = self._words == [_ONE_BY_ONE]
        for files in ([one], [other]) if apart else ([one, other],):
            self._start(files)
        sys.stdout.flush()
        sys.stderr.write("Enter: the next pair, q: stop ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        self._running = [each for each in self._running if each.poll() is None]
        return bool(line) and line.strip().lower() not in ("q", "quit")

    def _start(self, files: Sequence[bytes]) -> None:
        try:  # not waited for: it may stay open beside the next pair
            started = subprocess.Popen([*self._words, *files], stdin=subprocess.DEVNULL)
        except (OSError, IndexError) as error:
            message = f"{shlex.join(self._words)}: cannot be started ({error}): name a viewer"
            raise UsageError(message) from None
        self._running.append(started)

    def close(self) -> None:
        """Let go of the viewers that are still open."""
        for each in self._running:
            each.poll()
            each.returncode = each.returncode or 0  # it outlives us, and that is no oversight
