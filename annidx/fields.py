"""Fields that JSON lines and exports share."""

from __future__ import annotations

import base64
from typing import Any

from annidx.found import Match, Pair


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
