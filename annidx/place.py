"""Where the index lies when nobody says so, and what may be lost."""

from __future__ import annotations

import os
from pathlib import Path


def default_index() -> Path:
    """Return ``$ANNIDX_INDEX``, else ``$XDG_DATA_HOME/annidx/default`` (``~/.local/share``)."""
    named = os.environ.get("ANNIDX_INDEX")
    if named:
        return Path(named).expanduser()
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if os.path.isabs(data) else Path("~/.local/share").expanduser()
    return base / "annidx" / "default"


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/annidx`` (``~/.cache/annidx``): what may be lost at any time."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if os.path.isabs(cache) else Path("~/.cache").expanduser()
    return base / "annidx"
