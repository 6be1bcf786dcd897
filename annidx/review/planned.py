"""A plan as dataclasses, and as the JSON lines of a plan file, which end in their own digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annidx.decisions import path_of
from annidx.errors import ActionRefused
from annidx.fields import path_fields

VERSION = 1
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Companion:
    """What goes where its picture goes: a sidecar.

    Attributes
    ----------
    name : bytes
        In the picture's folder.
    size : int
        Bytes.
    content_hash : bytes
        BLAKE3 of all bytes, 32 bytes.
    """

    name: bytes
    size: int
    content_hash: bytes


@dataclass(frozen=True, slots=True)
class Removal:
    """One file to be removed, and the file that is kept for it.

    Attributes
    ----------
    path, kept : bytes
        Absolute.
    root : bytes
        The root that `path` lies in.
    size : int
        Bytes of `path`.
    content_hash, kept_hash : bytes
        BLAKE3 of all bytes of both, 32 bytes each, as of the plan.
    kept_pixels : bytes
        The `pixel_hash` of the kept one; zeros when it is no picture of the index.
    pixels : bytes
        The `pixel_hash` of `path`; zeros likewise.
    kind : str
        What `path` is to `kept`, one of :data:`annidx.kinds.KINDS`.
    reason : str
        In words: what it is to the kept one, and who or what chose that.
    source : str
        'decision' or 'identical'.
    companions : tuple of Companion
        They go with it, unless they belong to another picture that stays.
    goes_with : bytes
        Another removal, without which this one is not done; empty for none. The RAW half of a
        JPEG, say, whose copy lies beside the kept JPEG.
    """

    path: bytes
    kept: bytes
    root: bytes
    size: int
    content_hash: bytes
    kept_hash: bytes
    kept_pixels: bytes
    kind: str
    reason: str
    source: str
    companions: tuple[Companion, ...] = ()
    goes_with: bytes = b""
    pixels: bytes = bytes(32)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that was decided about and stays, with the reason. `kept` is empty for none."""

    path: bytes
    kept: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be removed.

    Attributes
    ----------
    plan_id : str
        'YYYYMMDD-HHMMSS-xxxxxxxx', UTC.
    index_id : str
    snapshot : int
    protected : tuple of bytes
        Folders of which nothing may be removed.
    removals : tuple of Removal
        By path, but halves behind the removal that they go with.
    refusals : tuple of Refusal
        By path.
    """

    plan_id: str
    index_id: str
    snapshot: int
    protected: tuple[bytes, ...]
    removals: tuple[Removal, ...]
    refusals: tuple[Refusal, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all removals with their companions."""
        return sum(
            each.size + sum(beside.size for beside in each.companions) for each in self.removals
        )

    @property
    def digest(self) -> str:
        """SHA-256 in hex of the plan file without its last line; whoever applies it confirms it."""
        return _digest(list(_lines(self)))


def checked_id(plan_id: str) -> str:
    """Return the name of a plan if it can be one: it becomes part of paths.

    Raises
    ------
    ActionRefused
    """
    if not _ID.fullmatch(plan_id):
        message = f"{plan_id!r} is no plan's name, expected one such as 20261122-031500-1f2e3d4c"
        raise ActionRefused(message)
    return plan_id


def fields_of(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield the lines of a plan file as dicts, without the last."""
    yield {
        "message_type": "plan",
        "version": VERSION,
        "plan": plan.plan_id,
        "index_id": plan.index_id,
        "snapshot": plan.snapshot,
        "protected": [path_fields("path", each) for each in plan.protected],
    }
    yield from map(_removal_fields, plan.removals)
    for each in plan.refusals:
        kept = path_fields("kept", each.kept) if each.kept else {}
        yield {"action": "none", **path_fields("path", each.path), **kept, "reason": each.reason}


def summary_of(plan: Plan) -> dict[str, Any]:
    """Return the fields of the last line of a plan file."""
    return {
        "plan": plan.plan_id,
        "removals": len(plan.removals),
        "refused": len(plan.refusals),
        "bytes": plan.size,
        "digest": plan.digest,
    }


def to_bytes(plan: Plan) -> bytes:
    """Return a plan as the bytes of its file."""
    return b"".join([*_lines(plan), _line({"message_type": "summary", **summary_of(plan)})])


def load(path: Path) -> Plan:
    """Read a plan file.

    Raises
    ------
    ActionRefused
        When it is no plan, torn, was changed by hand, or was written by a newer annidx.
    OSError
    """
    lines = path.read_bytes().splitlines(keepends=True)
    try:
        head, *rows, last = map(json.loads, lines)
        digest = last["digest"]
        if head["message_type"] != "plan" or last["message_type"] != "summary":
            raise ValueError
    except (ValueError, KeyError, TypeError):
        message = f"{path}: is no plan, or not a whole one; make it with annidx plan --output"
        raise ActionRefused(message) from None
    if digest != _digest(lines[:-1]):
        message = (
            f"{path}: was changed since it was written (its lines give {_digest(lines[:-1])[:12]}, "
            f'the last one says {digest[:12]}). Decide otherwise with "annidx decide" and make a '
            "new plan: each file is removed for one that it was seen to match."
        )
        raise ActionRefused(message)
    if head["version"] != VERSION:
        message = f"{path}: is a plan of version {head['version']}, this annidx reads {VERSION}"
        raise ActionRefused(message)
    return Plan(
        plan_id=checked_id(head["plan"]),
        index_id=head["index_id"],
        snapshot=head["snapshot"],
        protected=tuple(path_of(each, "path") for each in head["protected"]),
        removals=tuple(_removal(each) for each in rows if each["action"] == "remove"),
        refusals=tuple(
            Refusal(
                path_of(each, "path"),
                path_of(each, "kept") if "kept" in each else b"",
                each["reason"],
            )
            for each in rows
            if each["action"] == "none"
        ),
    )


def _removal_fields(removal: Removal) -> dict[str, Any]:
    fields = {
        "action": "remove",
        **path_fields("path", removal.path),
        **path_fields("kept", removal.kept),
        "kind": removal.kind,
        "reason": removal.reason,
        "source": removal.source,
        "size": removal.size,
        **path_fields("root", removal.root),
        "content_hash": removal.content_hash.hex(),
        "kept_hash": removal.kept_hash.hex(),
        "kept_pixels": removal.kept_pixels.hex(),
        "pixels": removal.pixels.hex(),
        "companions": [
            {
                **path_fields("name", each.name),
                "size": each.size,
                "content_hash": each.content_hash.hex(),
            }
            for each in removal.companions
        ],
    }
    if removal.goes_with:
        fields |= path_fields("goes_with", removal.goes_with)
    return fields


def _removal(fields: Mapping[str, Any]) -> Removal:
    return Removal(
        path=path_of(fields, "path"),
        kept=path_of(fields, "kept"),
        root=path_of(fields, "root"),
        size=fields["size"],
        content_hash=bytes.fromhex(fields["content_hash"]),
        kept_hash=bytes.fromhex(fields["kept_hash"]),
        kept_pixels=bytes.fromhex(fields["kept_pixels"]),
        kind=fields["kind"],
        reason=fields["reason"],
        source=fields["source"],
        companions=tuple(
            Companion(path_of(each, "name"), each["size"], bytes.fromhex(each["content_hash"]))
            for each in fields["companions"]
        ),
        goes_with=path_of(fields, "goes_with") if "goes_with" in fields else b"",
        pixels=bytes.fromhex(fields["pixels"]),
    )


def _lines(plan: Plan) -> Iterator[bytes]:
    return map(_line, fields_of(plan))


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _digest(lines: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join(lines)).hexdigest()
