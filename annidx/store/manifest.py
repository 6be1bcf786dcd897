"""The manifest: what one snapshot consists of, as dataclasses and as canonical JSON.

The JSON carries the SHA-256 of itself (without that field), so that a torn or edited file is told
from a whole one without looking at anything else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from typing import Any, Literal, get_args

from annidx.errors import IndexDamaged, IndexTooNew

FORMAT = 1
"""Version of everything on disk. A new column does not make a new format."""

Kind = Literal["pictures", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that is walked. `path` is absolute; `moved` means inodes cannot be compared."""

    root_id: int
    path: bytes
    status: Literal["online", "offline"] = "online"
    moved: bool = False


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """One Parquet file of the snapshot.

    Attributes
    ----------
    sha256 : str
        Of the whole file; also its name.
    kind : {'pictures', 'other'}
        'pictures' rows are readable and have descriptors; 'other' rows are failures and files that
        are no pictures, kept so that they are not read again.
    rows, size : int
        Rows of the file; bytes of the file.
    removed : tuple of (int, int)
        Runs (start, count) of rows that are gone from the snapshot.
    """

    sha256: str
    kind: Kind
    rows: int
    size: int
    removed: tuple[tuple[int, int], ...] = ()

    @property
    def live(self) -> int:
        """Rows that are not removed."""
        return self.rows - sum(count for _, count in self.removed)


@dataclass(frozen=True, slots=True)
class GraphEntry:
    """One nmslib graph of the snapshot.

    Attributes
    ----------
    metric : str
    sha256, size : str, int
        Of the .hnsw file.
    sidecar_sha256 : str
        Of the .json beside it.
    segments : tuple of str
        The 'pictures' segments it covers, in the order in which their rows are counted.
    nodes : int
        Unique vectors.
    recall, recall_low, recall_high : float or None
        Measured recall of pairs under the default cutoff with its 95 % Wilson interval; None when
        the sample held no pairs.
    sampled_pairs : int
        True pairs in the sample.
    found_itself : float
        Share of the nodes that find themselves.
    usable : bool
        False when it missed its target: its metric is then served by the exact engine.
    """

    metric: str
    sha256: str
    size: int
    sidecar_sha256: str
    segments: tuple[str, ...]
    nodes: int
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    sampled_pairs: int
    found_itself: float
    usable: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """One published state of the index.

    Attributes
    ----------
    number : int
        1, 2, 3, ...; the highest valid one is current.
    created : str
        UTC, ISO 8601.
    roots, segments, graphs : tuple
    next_image_id, next_root_id : int
        Numbers are never used twice.
    counts : Mapping[str, int]
        Live rows by status.
    left_out : Mapping[str, int]
        What the walk passed over, by reason.
    descriptors : Mapping[str, int]
        Version of each descriptor in the segments.
    exclude : tuple of str
        Globs that the walk leaves out, remembered for builds that name none.
    graph_metrics : tuple of str
        Metrics that have a graph, remembered likewise.
    limits : Mapping[str, int]
        The highest limits of a picture so far, 'memory' in bytes and 'pixels': what was too large
        is looked at again when they are raised.
    chance : Mapping of str to Any, optional
        What was measured of the scores of unrelated pictures, for metric 'fingerprint'; see
        :class:`annidx.search.chance.Chance`.
    index_id : str
        Of the index that it belongs to, as in ``annidx.json``.
    restores : int
        The number of the snapshot that a roll-back restored in this one; 0 for one of a build.
    interim_of : int or None
        For what a build published before its end: the snapshot that it went on from, 0 for none.
    """

    number: int
    created: str
    roots: tuple[Root, ...] = ()
    segments: tuple[SegmentEntry, ...] = ()
    graphs: tuple[GraphEntry, ...] = ()
    next_image_id: int = 1
    next_root_id: int = 1
    counts: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    descriptors: Mapping[str, int] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    graph_metrics: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    chance: Mapping[str, Any] | None = None
    index_id: str = ""
    restores: int = 0
    interim_of: int | None = None

    def to_json(self) -> bytes:
        """Return the canonical JSON: sorted keys, no spaces, its own checksum in 'checksum'."""
        fields = {"format": FORMAT, **asdict(self)}
        for root in fields["roots"]:
            root["path_base64"] = base64.b64encode(root["path"]).decode()
            root["path"] = os.fsdecode(root["path"]).encode(errors="replace").decode()
        return _canonical({**fields, "checksum": _digest(fields)})

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Manifest:
        """Parse and check a manifest.

        Parameters
        ----------
        data : bytes
        where : str
            Named in the error.

        Raises
        ------
        IndexDamaged
            When it is no JSON, its checksum fails or a field is missing.
        IndexTooNew
            When its format is newer than this annidx.
        """
        try:
            fields = json.loads(data)
            found, checksum = fields["format"], fields.pop("checksum")
            flipped = is_flipped(found) and checksum == _digest({**fields, "format": FORMAT})
            if found > FORMAT and not flipped:
                raise IndexTooNew(too_new_message(where, found))
            expected = _digest(fields)
            if checksum != expected:
                message = f"{where}: its checksum is {checksum}, its content gives {expected}"
                raise IndexDamaged(message)
            return _parse(fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, IndexDamaged | IndexTooNew):
                raise
            message = f"{where}: not a whole manifest ({type(error).__name__}: {error})"
            raise IndexDamaged(message) from None


def too_new_message(where: str, found: object) -> str:
    """Say that something was written in a newer format."""
    return (
        f"{where}: written in index format {found}, this annidx reads formats up to {FORMAT}. "
        "Upgrade annidx, or build a new index elsewhere."
    )


def is_flipped(found: int) -> bool:
    """Tell whether a format number is one flipped bit away from this one's, as 3, 5 and 9 are."""
    shown, right = str(found).encode(), str(FORMAT).encode()
    pairs = zip(shown, right, strict=False)
    return len(shown) == len(right) and sum((a ^ b).bit_count() for a, b in pairs) == 1


def _canonical(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(fields)).hexdigest()


def _parse(fields: dict[str, Any]) -> Manifest:
    del fields["format"]
    roots = [
        Root(root["root_id"], base64.b64decode(root["path_base64"]), root["status"], root["moved"])
        for root in fields.pop("roots")
    ]
    segments = [
        SegmentEntry(**_known(entry, SegmentEntry, removed=[(a, b) for a, b in entry["removed"]]))
        for entry in fields.pop("segments")
    ]
    graphs = [GraphEntry(**_known(entry, GraphEntry)) for entry in fields.pop("graphs")]
    known = _known(fields, Manifest)
    return Manifest(roots=tuple(roots), segments=tuple(segments), graphs=tuple(graphs), **known)


def _known(entry: Mapping[str, Any], kind: type, **changed: Any) -> dict[str, Any]:
    """Return the fields that this version knows, lists as tuples: a new key is no new format."""
    names = {each.name for each in dataclass_fields(kind)}
    chosen = {name: value for name, value in {**entry, **changed}.items() if name in names}
    return {k: tuple(value) if isinstance(value, list) else value for k, value in chosen.items()}
