"""Two thresholds by which pictures are judged, pinned to what a snapshot measured.

Chances are told for an archive as it is: they move when it grows, and with them what is rejected.
So what the snapshot measured at which thresholds were first used is kept beside them, and holds
until other thresholds are given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annidx.descriptors import FINGERPRINT, default_metric, descriptor
from annidx.errors import UsageError
from annidx.index import Index
from annidx.store import files, identity

FILE = "thresholds.json"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is rejected and what is to be reviewed.

    Attributes
    ----------
    metric : str
    reject, review : float
        Inclusive: a chance by metric 'fingerprint', else a distance.
    snapshot : int
        At which they were pinned.
    measured : Mapping of str to Any, optional
        What that snapshot had measured of chances.
    """

    metric: str
    reject: float
    review: float
    snapshot: int
    measured: Mapping[str, Any] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options of a search for what either threshold catches."""
        if not descriptor(self.metric).needs:
            return {"metric": self.metric, "cutoff": self.review}
        found: dict[str, Any] = {"metric": self.metric, "false_pairs": self.review}
        return found | ({"cutoff_from": self.measured} if self.measured else {})


def chosen(
    index: Index, metric: str | None, reject: float | None, review: float | None
) -> tuple[str, float, float]:
    """Return metric and thresholds, by default those of `--match strict` and `normal`.

    Raises
    ------
    UsageError
    """
    name = metric or default_metric(index.manifest.descriptors)
    return name, *limits(name, reject, review)


def limits(name: str, reject: float | None, review: float | None) -> tuple[float, float]:
    """Return the thresholds of a metric; see :func:`chosen`."""
    measure = descriptor(name)
    strict, normal = (1e-6, 1.0) if name == FINGERPRINT.name else (measure.strict, measure.cutoff)
    low, high = (strict if reject is None else reject, normal if review is None else review)
    if not 0 <= low <= high:
        message = f"reject is {low:g} and review {high:g}: expected 0 <= reject <= review"
        raise UsageError(message)
    return low, high


def pinned(index: Index, place: Path, wanted: tuple[str, float, float]) -> Thresholds:
    """Return thresholds as they were pinned, or pin them now.

    Parameters
    ----------
    index : Index
    place : Path
        The folder in which they are kept, an index of uploads.
    wanted : (str, float, float)
        See :func:`chosen`.
    """
    path = place / FILE
    known = _read(path)
    if known is not None and (known.metric, known.reject, known.review) == wanted:
        return known
    made = Thresholds(*wanted, index.manifest.number, index.manifest.chance)
    fields = {name: getattr(made, name) for name in Thresholds.__slots__}
    identity.create(place)
    with files.replacing(path, 0o600) as handle:
        handle.write(json.dumps(fields).encode())
    return made


def _read(path: Path) -> Thresholds | None:
    """Return what is kept; None when there is nothing, or nothing that makes sense."""
    try:
        return Thresholds(**json.loads(files.read_file(path)))
    except (OSError, ValueError, TypeError):
        return None
