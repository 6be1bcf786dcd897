"""annidx.commands.meter: long searches show on a terminal how far they are."""

from __future__ import annotations

import argparse
import io
import sys
import time

import pytest

from annidx.commands.meter import comparing_meter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def wanted(**options: bool) -> argparse.Namespace:
    return argparse.Namespace(**{"json": False, "quiet": False, **options})


def test_what_takes_longer_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    show = comparing_meter(wanted())
    assert show is not None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    show(512, 1200)
    assert terminal.getvalue() == ""  # what is over within a second needs no bar
    now += 3
    show(1024, 1200)
    assert "1024/1200" in terminal.getvalue()
    show(1200, 1200)
    assert terminal.getvalue().endswith("\r")  # gone when it is done


@pytest.mark.parametrize("option", ["json", "quiet"])
def test_nothing_is_shown_where_nobody_looks(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    assert comparing_meter(wanted()) is None
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert comparing_meter(wanted(**{option: True})) is None
