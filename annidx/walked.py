"""When the archive was last walked from end to end: a build that finds no change publishes nothing.

So the age of a snapshot alone does not tell whether an index is fresh. The note lies beside the
snapshots and is no part of them: an index without it is as old as its snapshot.
"""

from __future__ import annotations

import json
from pathlib import Path

from annidx.store import files

FILE = "walked.json"


def note(index: Path, snapshot: int, now_ns: int) -> None:
    """Note that a build has walked all roots, and that a snapshot says what is there.

    Parameters
    ----------
    index : Path
    snapshot : int
        Its number.
    now_ns : int
        Since 1970.
    """
    fields = {"snapshot": snapshot, "walked": now_ns / 1e9}
    with files.replacing(index / FILE, 0o600) as handle:
        handle.write(json.dumps(fields).encode())


def last(index: Path, snapshot: int) -> float | None:
    """Return when it was last found that a snapshot is up to date, seconds since 1970.

    None when that was not noted of this snapshot, or the note cannot be read.
    """
    try:
        fields = json.loads(files.read_file(index / FILE))
        if fields["snapshot"] != snapshot:
            return None
        return float(fields["walked"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
