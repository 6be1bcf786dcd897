"""Roots that are out of sight when a build begins: missing, or suddenly empty."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from annidx.changes import KnownFiles
from annidx.store.manifest import Root


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of looking at the roots.

    Attributes
    ----------
    roots : list of Root
        By path, each marked as online or offline.
    trouble : dict of Root to str
        What is wrong with those that are offline.
    """

    roots: list[Root]
    trouble: dict[Root, str]

    def warnings(self, *, damaged: bool, outdated: bool) -> list[str]:
        """Return a line for each root that is offline: what becomes of its pictures."""
        fate = "are kept as they were"
        if damaged:
            fate += ", but for those in damaged segments"
        if outdated:
            fate = "must be read anew, and are out of the index until it is back"
        return [
            f"{os.fsdecode(root.path)} {trouble}: its pictures {fate}. "
            'Bring it back, or use "annidx roots move" or "annidx roots remove".'
            for root, trouble in self.trouble.items()
        ]


def look(
    roots: Sequence[Root], before: Sequence[Root], known: KnownFiles, *, damaged: bool
) -> Looked:
    """Look whether roots are there.

    Parameters
    ----------
    roots : Sequence of Root
        Those that the index is to have.
    before : Sequence of Root
        Those that it had. One that is merged into a new one above and offline is looked at as well:
        it is merged when it is back, until then it must be known.
    known : KnownFiles
    damaged : bool
        True when pictures were in damaged segments: nobody knows of which roots.
    """
    paths = {root.path for root in roots}
    merged_away = [root for root in before if root.path not in paths]
    found, trouble = [], {}
    for root in sorted([*roots, *merged_away], key=lambda root: root.path):
        wrong = _trouble(root, known, perhaps=damaged and root in before)
        if wrong:
            found.append(replace(root, status="offline"))
            trouble[found[-1]] = wrong
        elif root.path in paths:
            found.append(replace(root, status="online"))
    return Looked(found, trouble)


def _trouble(root: Root, known: KnownFiles, *, perhaps: bool) -> str:
    """Return what is wrong with a root, if anything; `perhaps` it had pictures."""
    if not os.path.isdir(root.path):
        return "is missing"
    try:
        if not os.listdir(root.path) and (perhaps or known.any_inside(root.path)):
            return "is suddenly empty"
    except OSError:
        return ""  # the walk will say that it cannot be listed
    return ""
