"""Files that could not be read: which of them are news, since the snapshot before did not know."""

from __future__ import annotations

from collections import Counter

import numpy as np

from annidx.model import IGNORED, READABLE
from annidx.store.snapshot import Snapshot


def new(before: Snapshot, now: Snapshot) -> list[bytes]:
    """Return the absolute paths of the failures that a snapshot before did not have, sorted.

    A file that failed under the same path before is no news, whatever it holds now. Neither is
    one that was moved or renamed: a known failure of the same bytes is gone for it. A copy is.
    """
    old, found = _failing(before), _failing(now)
    gone = Counter(content for path, content in old.items() if path not in found)
    del gone[bytes(32)]  # never read, so nobody knows whether it is the same
    news = []
    for path, content in sorted(found.items()):
        if path in old:
            continue
        if gone[content] > 0:
            gone[content] -= 1
        else:
            news.append(path)
    return news


def _failing(opened: Snapshot) -> dict[bytes, bytes]:
    """Return the content hash of each failure by its path."""
    labels, statuses = opened.other.labels("status")
    is_failure = np.array([each not in READABLE | IGNORED for each in statuses], np.bool_)
    rows = np.flatnonzero(opened.other.live & is_failure[labels])
    hashes = opened.other.fixed("content_hash")[rows]
    return {
        path: content.tobytes()
        for path, content in zip(opened.paths(rows, opened.other), hashes, strict=True)
    }
