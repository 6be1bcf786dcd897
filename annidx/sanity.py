"""Before a build publishes: has so much of a root gone that something else must be wrong?

A root that is missing, or suddenly empty, is offline and keeps its pictures. Here it is about one
that is there and has lost many: a disk that was mounted halfway, a folder that was renamed by
mistake, a share that lists its files and reads none of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from annidx.errors import UsageError

REMOVED_PICTURES = 100
"""By default a root may lose so many pictures in one build ..."""

REMOVED_SHARE = 0.01
"""... or this share of them, whichever is more."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a root has lost since the snapshot before.

    Attributes
    ----------
    root : bytes
        Absolute path.
    pictures : int
        That it had.
    gone, spoiled : int
        Pictures that are not there any more; that are there and cannot be read any more.
    """

    root: bytes
    pictures: int
    gone: int
    spoiled: int


def allowed(max_removed: int | str | None, pictures: int) -> int:
    """Return how many pictures a root may lose in one build.

    Parameters
    ----------
    max_removed : int or str, optional
        A number of pictures, or a share of the root's such as '5%'. None: 100 or 1 %, whichever is
        more.
    pictures : int
        That the root had.

    Raises
    ------
    UsageError
        When `max_removed` is neither.

    Examples
    --------
    >>> allowed(None, 500), allowed(None, 20_000), allowed("50%", 30), allowed(7, 30)
    (100, 200, 15, 7)
    """
    if max_removed is None:
        return max(REMOVED_PICTURES, int(REMOVED_SHARE * pictures))
    found = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?) ?%", str(max_removed))
    if found is None or float(found[2] or 0) > 100:
        message = f"max_removed is {max_removed!r}, expected a number of pictures or a share: 5%"
        raise UsageError(message)
    return int(found[1]) if found[1] else int(float(found[2]) / 100 * pictures)


def unmended(damaged: int, added: int, max_removed: int | str | None) -> str:
    """Return why a build must not be published that did not make up for damage; empty: it did.

    Parameters
    ----------
    damaged : int
        Pictures that were in damaged segments.
    added : int
        Pictures that are new to the index since these were left away.
    max_removed : int or str, optional
        See :func:`allowed`; here of the damaged ones.
    """
    limit = allowed(max_removed, damaged)
    if damaged - added <= limit:
        return ""
    return (
        f"damaged segments held {damaged:,} pictures, of which {max(added, 0):,} were found again, "
        f"{limit:,} may be missing (--max-removed)"
    )


def objection(losses: Sequence[Loss], max_removed: int | str | None) -> str:
    """Return why a build must not be published; empty when nothing speaks against it."""
    lines = []
    for loss in losses:
        limit = allowed(max_removed, loss.pictures)
        if loss.gone + loss.spoiled > limit:
            lines.append(
                f"{os.fsdecode(loss.root)}: of {loss.pictures:,} pictures {loss.gone:,} are gone "
                f"and {loss.spoiled:,} cannot be read any more, in one build "
                f"{limit:,} may (--max-removed)"
            )
    return "; ".join(lines)
