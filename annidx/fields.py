"""Fields that JSON lines and exports share."""

from __future__ import annotations

import base64
from typing import Any

from annidx.found import Group, Match, Pair


def path_fields(key: str, raw: bytes) -> dict[str, str]:
    """Return the JSON fields of a path: text, and base64 beside it when it is not UTF-8.

    Examples
    --------
    >>> path_fields("path", b"/p/a.jpg")
    {'path': '/p/a.jpg'}
    >>> path_fields("path", b"/p/\\xff.jpg")["path_base64"]
    'L3Av/y5qcGc='
    """
    try:
        return {key: raw.decode()}
    except UnicodeDecodeError:
        text = raw.decode(errors="replace")
        return {key: text, f"{key}_base64": base64.b64encode(raw).decode()}


def looked_at(found: Match | Pair) -> dict[str, Any]:
    """Return the fields that only a match by fingerprint has."""
    if found.score is None or found.chance is None:
        return {}
    said = found.explanation
    known = {} if said is None else {"differences": list(said.changes), "explanation": said.words}
    looked = {"score": round(found.score, 4), "chance": found.chance}
    return {**looked, "extrapolated": bool(found.extrapolated), **known}


def match_fields(match: Match) -> dict[str, Any]:
    """Return the fields of a match in JSON."""
    return {
        **path_fields("path", match.raw_path),
        "distance": match.distance,
        "metric": match.metric,
        "kind": match.kind,
        "transform": match.transform,
        "image_id": match.image_id,
        "width": match.width,
        "height": match.height,
        "size": match.size,
        "format": match.format,
        "low_information": match.low_information,
        **looked_at(match),
    }


def group_fields(group: Group) -> dict[str, Any]:
    """Return the fields of a group in JSON."""
    named = [path_fields("path", path) for path in group.raw_paths]
    fields: dict[str, Any] = {
        "group": group.number,
        "linkage": group.linkage,
        "paths": [each["path"] for each in named],
        "size": len(named),
        "diameter": group.diameter,
        "weakest": group.weakest,
        "freed_bytes": group.freed_bytes,
        "metric": group.metric,
    }
    if group.protected:
        fields["protected"] = [path in group.protected for path in group.raw_paths]
    if any("path_base64" in each for each in named):
        fields["paths_base64"] = [each.get("path_base64") for each in named]
    return fields
