"""What the OpenAPI document says of answers and errors: the shapes, for those who generate code."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_MEANINGS = {
    400: "The request is malformed.",
    401: "The token is missing or wrong.",
    403: "The Host or the Origin is not one of this service.",
    404: "There is no such picture or index.",
    405: "The path has no such method.",
    408: "The body did not come in time.",
    413: "The body or the picture is too large.",
    415: "The body is of another type, or no picture that can be read.",
    422: "The request makes no sense.",
    429: "Another search of all pairs is being done; Retry-After says when to come back.",
    503: "Not ready, or all places are taken; Retry-After says when to come back.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a route for errors; those that any request may get are among them."""
    return {
        status: {
            "description": _MEANINGS[status],
            "content": {"application/problem+json": {"schema": PROBLEM}},
        }
        for status in sorted({400, 401, 403, 405, 413, *statuses})
    }


INDEX = {
    "name": "index",
    "in": "query",
    "required": False,
    "schema": {"type": "string"},
    "description": "Which index; by default the first.",
}


def body_of(
    model: type[BaseModel] | None, *, form: type[BaseModel] | None = None
) -> dict[str, Any]:
    """Return what a route says of its body: JSON, or else a form with a file and these fields."""
    content = {} if model is None else {"application/json": {"schema": _inlined(model)}}
    if form is not None:
        fields = _inlined(form)
        file = {"type": "string", "format": "binary", "description": "A picture."}
        fields["properties"] = {"file": file, **fields["properties"]}
        fields["required"] = ["file", *fields.get("required", ())]
        fields["description"] = "A picture that is sent, and options; lists and objects are JSON."
        content["multipart/form-data"] = {"schema": fields}
    return {"requestBody": {"required": True, "content": content}}


def _inlined(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model without references: what FastAPI does not know it lists not."""
    schema = model.model_json_schema()
    known = schema.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return list(map(resolved, part))
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return resolved(known[part["$ref"].rpartition("/")[2]])
        return {name: resolved(value) for name, value in part.items()}

    found: dict[str, Any] = resolved(schema)
    return found


class Open(BaseModel):
    """An answer; further members may come."""

    model_config = ConfigDict(extra="allow")


class Match(Open):
    """A picture near a query; see the README on JSON."""

    path: str | None = None
    image_id: int | None = None
    key: str | None = None
    payload: dict[str, Any] | None = None
    distance: float
    metric: str
    kind: str
    transform: str
    width: int
    height: int
    size: int
    format: str
    low_information: bool


class Searched(Open):
    """What every search says of itself."""

    count: int
    complete: bool
    exact: bool
    engine: str
    recall: float | None
    metric: str
    cutoff: float
    k: int | None
    snapshot: int
    chance: float | None


class Matches(Searched):
    """The matches of one query, nearest first."""

    matches: list[Match]


class QueryAnswer(Matches):
    """The answer to a query."""

    index: str
    milliseconds: float


class PutAnswer(QueryAnswer):
    """What became of a picture that was sent, and what it is near to."""

    key: str
    stored: bool
    created: bool
    verdict: Literal["reject", "review", "accept"]
    uploads: int


class DeleteAnswer(Open):
    """A picture that is gone."""

    key: str
    deleted: bool
    uploads: int


class BatchAnswer(Open):
    """The answers to several queries, in their order; all by one snapshot."""

    results: list[Matches]
    index: str
    snapshot: int
    milliseconds: float


class Picture(Open):
    """What the index knows of a picture."""

    image_id: int | None = None
    path: str | None = None
    key: str | None = None
    payload: dict[str, Any] | None = None
    size: int
    mtime: str
    first_seen: str
    format: str
    width: int
    height: int
    orientation: int
    taken: str
    camera: str
    content_hash: str
    pixel_hash: str
    index: str
    snapshot: int


class SnapshotAnswer(Open):
    """What answers."""

    index: str
    snapshot: int
    created: str
    age_seconds: float
    walked_seconds_ago: float
    pictures: int
    descriptors: dict[str, int]
    graphs: list[dict[str, Any]]
    indexes: list[str]


class ReloadAnswer(Open):
    """Whether there was a newer snapshot."""

    index: str
    snapshot: int
    reloaded: bool


class Status(Open):
    """Whether it lives, or is ready."""

    status: str


class PageOfPairs(Searched):
    """Some pairs, nearest first, and the cursor of those that follow."""

    pairs: list[dict[str, Any]]
    next: str | None


class PageOfGroups(Searched):
    """Some groups, largest first, and the cursor of those that follow."""

    groups: list[dict[str, Any]]
    next: str | None
