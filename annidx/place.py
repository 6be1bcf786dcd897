"""Where the index lies when nobody says so."""

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
