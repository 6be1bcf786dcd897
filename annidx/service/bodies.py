"""What requests may say: the options of searches as the API has them, checked by their types."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, Self

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from starlette.datastructures import FormData, UploadFile

from annidx.asking import MAX_PAIRS, Filter, K, Near, PixelSize, Turns, Views
from annidx.kinds import Kind
from annidx.model import Choice, Linkage
from annidx.service.problems import Problem

MOST_K = 1000
MOST_QUERIES = 256
MOST_ROWS = 1000
MOST_DIMENSIONS = 8192

Number = Annotated[int, Field(ge=0, le=2**63 - 1)]
Side = Annotated[int, Field(ge=0, le=2**31 - 1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=4096)]


Payload = Annotated[dict[Text, JsonValue], Field(max_length=50)]


class Strict(BaseModel):
    """A model that takes what it says and nothing else."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class Filters(Strict):
    """Which pictures count; see :class:`annidx.Filter`. All that is given must hold."""

    paths: Annotated[list[Text], Field(max_length=100)] = []
    min_bytes: Number = 0
    min_pixels: Number | tuple[Side, Side] = 0
    pixel_size: PixelSize | None = None
    formats: Annotated[list[Text], Field(max_length=100)] = []
    taken_from: Text | None = None
    taken_until: Text | None = None

    def where(self) -> Filter:
        """Return them for the API."""
        return Filter(**self.model_dump(exclude_unset=True))


class Common(Strict):
    """Options of every search; see `annidx query --help`."""

    metric: Text | None = None
    cutoff: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    match: Near | None = None
    exact: bool = False
    engine: Choice = "auto"
    views: Views = "default"
    fpr: Positive | None = None
    false_pairs: Positive | None = None
    cutoff_from: Side | None = None
    filters: Filters | None = None

    def options(self) -> dict[str, Any]:
        """Return what was given, for a call of the API."""
        names = self.model_fields_set - _NO_OPTIONS
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.filters is not None:
            given["where"] = self.filters.where()
        return given


_LIMITS = frozenset(
    {"metric", "cutoff", "match", "fpr", "false_pairs", "cutoff_from", "transforms", "kinds"}
)
_OBJECTS = frozenset({"filters", "payload"})
"""Fields of forms that are JSON."""
_NO_OPTIONS = frozenset({"filters", "payload", "judge", "id", "ids", "vector", "vectors"})


class Nearest(Common):
    """Options of a search for what is near to some pictures."""

    k: Annotated[int, Field(ge=1, le=MOST_K)] = K
    transforms: Turns = "none"
    kinds: Annotated[list[Kind], Field(max_length=10)] = []
    companions: bool = False
    payload: Payload | None = None
    judge: bool = False

    @model_validator(mode="after")
    def _judged(self) -> Self:
        given = _LIMITS & self.model_fields_set
        if self.judge and given:
            message = f"judge goes by the thresholds of the service: leave out {min(given)}"
            raise ValueError(message)
        return self


class Neighbours(Strict):
    """Options of a search for what is near to a picture of the index, as parameters."""

    index: Annotated[str, Field(max_length=200)] | None = None
    k: Annotated[int, Field(ge=1, le=MOST_K)] = K
    metric: Text | None = None
    cutoff: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    match: Near | None = None
    fpr: Positive | None = None
    false_pairs: Positive | None = None
    transforms: Turns = "none"
    views: Views = "default"
    exact: bool = False

    def options(self) -> dict[str, Any]:
        """Return what was given, for a call of the API."""
        return self.model_dump(exclude_unset=True, exclude_none=True, exclude={"index"})


class PairQuery(Strict):
    """Options of a search of all pairs, and which page of them, as parameters."""

    index: Annotated[str, Field(max_length=200)] | None = None
    cursor: Annotated[str, Field(max_length=400)] | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 100
    metric: Text | None = None
    cutoff: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    match: Near | None = None
    fpr: Positive | None = None
    false_pairs: Positive | None = None
    cutoff_from: Side | None = None
    views: Views = "default"
    kinds: Annotated[list[Kind], Field(max_length=10)] = []
    since: Annotated[str, Field(max_length=40)] | None = None
    companions: bool = False
    path: Annotated[list[Text], Field(max_length=100)] = []
    max_pairs: Annotated[int, Field(ge=1, le=MAX_PAIRS)] = MAX_PAIRS

    def options(self) -> dict[str, Any]:
        """Return what was given, for a call of the API."""
        page = {"index", "cursor", "limit", "path"}
        given = self.model_dump(exclude_unset=True, exclude_none=True, exclude=page)
        given["max_pairs"] = self.max_pairs
        return given | ({"where": Filter(paths=self.path)} if self.path else {})

    def question(self) -> str:
        """Return what is asked, whichever page of it."""
        return self.model_dump_json(exclude={"cursor", "limit"})


class GroupQuery(PairQuery):
    """Options of a search of groups, and which page of them, as parameters."""

    linkage: Linkage = "connected"
    unconfirmed: bool = False


Value = Annotated[int, Field(ge=-128, le=255)]
Vector = Annotated[list[Value], Field(min_length=1, max_length=MOST_DIMENSIONS)]


class Query(Nearest):
    """A picture of the index (`id`) or the vector of one that is not (`vector`), and options."""

    id: Number | None = None
    vector: Vector | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.id is None) == (self.vector is None):
            message = "give either id or vector, or send a picture as multipart/form-data"
            raise ValueError(message)
        return self


class Batch(Nearest):
    """Several pictures of the index (`ids`) or vectors (`vectors`), and options for all of them."""

    ids: Annotated[list[Number], Field(min_length=1, max_length=MOST_QUERIES)] | None = None
    vectors: Annotated[list[Vector], Field(min_length=1, max_length=MOST_QUERIES)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.ids is None) == (self.vectors is None):
            message = "give either ids or vectors"
            raise ValueError(message)
        return self


class Put(Strict):
    """What goes with a picture that is added."""

    payload: Payload = {}
    keep: Literal["always", "unless-rejected"] = "always"


def not_a_form() -> Problem:
    """Return what is said to a body that should be a form and is none."""
    return Problem(415, "expected Content-Type: multipart/form-data with a picture in `file`")


async def json_body(request: Request, model: type[Any]) -> Any:
    """Return the JSON body of a request as a model.

    Raises
    ------
    Problem
        415 for another content type, 400 when it is no JSON.
    ValidationError
    """
    if _content_type(request) != "application/json":
        raise Problem(415, "expected Content-Type: application/json")
    body = await request.body()
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is no JSON: {error}") from None
    return model.model_validate_json(body, strict=True)


def is_form(request: Request) -> bool:
    """Tell whether a request sends a form."""
    return _content_type(request) == "multipart/form-data"


@asynccontextmanager
async def form_body(request: Request, model: type[Any]) -> AsyncIterator[tuple[UploadFile, Any]]:
    """Give the field `file` of a form, which is closed in the end, and its other fields as a model.

    Fields are named like the options; `kinds` may come several times, `filters` is JSON.

    Raises
    ------
    Problem, ValidationError
    """
    async with request.form(max_files=1, max_fields=40, max_part_size=64_000) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Problem(422, "the form has no field 'file' with a file in it")
        yield file, model.model_validate(_fields(form))


def _fields(form: FormData) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in form:
        values = form.getlist(name)
        if name == "file":
            if len(values) > 1:
                raise Problem(422, "the form has more than one field 'file'")
        elif name == "kinds":
            fields[name] = list(map(str, values))
        elif len(values) > 1:
            raise Problem(422, f"the form has more than one field {name!r}")
        elif name in _OBJECTS:
            fields[name] = _parsed(name, str(values[0]))
        else:
            fields[name] = values[0]
    return fields


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Problem(422, f"the field {name!r} is no JSON: {error}") from None


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
