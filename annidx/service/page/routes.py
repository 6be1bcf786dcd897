"""The pages that are looked at: login, overview, a group, pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import RedirectResponse, Response

from annidx.errors import PictureUnreadable
from annidx.index import Index
from annidx.model import IGNORED, READABLE
from annidx.review.suggest import Rules
from annidx.service.page import acting, asked, board, facts, figures, look, order
from annidx.service.page.asked import Asked
from annidx.service.page.refused import Readable
from annidx.service.page.session import LOGIN, Session
from annidx.service.page.shared import HEADERS, STATIC, Page, see_other, templates
from annidx.service.problems import Problem
from annidx.showing import shown

ON_A_PAGE = 48
MOST_FAILURES = 500
WAIT_S = 2.0
"""A page that is not ready by then says so, and asks again."""
_NO_GROUP = (
    "There is no such group any more: its pictures were decided to be no duplicates, or the index "
    "was built anew."
)
CHOICES = {
    "views": board.VIEWS,
    "kinds": board.KINDS,
    "sorts": order.SORTS,
    "states": asked.STATES,
}


def install(app: FastAPI, session: Session, rules: Rules) -> None:
    """Add the page to the application of a service.

    Parameters
    ----------
    app : FastAPI
        Of :func:`annidx.service.application.application`, with the session's cookie for a
        credential.
    session : Session
    rules : Rules
        Which picture of several is suggested to be kept.
    """
    page = Page(app.state.service, session, rules)
    for module in (_entrance(page), _pages(page), acting.router(page)):
        app.include_router(module)
    refusal = templates().get_template("refused.html").render().encode()
    app.add_middleware(Readable, refusal, HEADERS)


def _entrance(page: Page) -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get(LOGIN)
    async def login(token: str = "") -> Response:
        cookie = page.session.enter(token)
        if cookie is None:
            words = 'This link was used before, or is none. "annidx review" gives a new one.'
            return page.error(words, 403)
        answer = RedirectResponse("/review", 303, headers=HEADERS)
        answer.set_cookie(page.session.cookie, cookie, path="/", httponly=True, samesite="strict")
        return answer

    @routes.get("/")
    async def root() -> Response:
        return RedirectResponse("/review", 303, headers=HEADERS)

    @routes.get("/review/static/{name}")
    async def static(name: str) -> Response:
        if name not in STATIC:
            raise Problem(404, "there is no such file")
        media, data = STATIC[name]
        keep = {"Cache-Control": "private, max-age=86400"}  # addresses name a version
        return Response(data, media_type=media, headers=keep)

    return routes


def _pages(page: Page) -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get("/review")
    async def overview(request: Request) -> Response:
        return await page.answer(_overview, page, asked.read(request.query_params))

    @routes.get("/review/pairs")
    async def pairs(request: Request) -> Response:
        return await page.answer(_first_pair, page, request.query_params)

    @routes.get("/review/failures")
    async def failures() -> Response:
        return await page.answer(_failures, page)

    @routes.get("/review/group/{key}")
    async def group(key: int, request: Request) -> Response:
        return await page.answer(_group, page, key, request.query_params)

    @routes.get("/review/picture/{number}")
    async def picture(number: int, side: int = 256) -> Response:
        if side not in look.SIDES:
            raise Problem(422, f"side is {side}, expected one of {look.SIDES}")
        return _jpeg(await page.service.pool.run(_preview, page, number, side))

    @routes.get("/review/difference/{one}/{other}")
    async def difference(one: int, other: int) -> Response:
        return _jpeg(await page.service.pool.run(_difference, page, one, other))

    return routes


def _jpeg(data: bytes) -> Response:
    keep = {"Cache-Control": "private, max-age=600"}
    return Response(data, media_type="image/jpeg", headers=keep)


def _preview(page: Page, number: int, side: int) -> bytes:
    try:
        return page.preview(page.index, number, side)
    except PictureUnreadable as error:
        raise Problem(404, f"picture {number} cannot be shown: {error}") from None


def _difference(page: Page, one: int, other: int) -> bytes:
    index = page.index
    paths = [index.picture(each).file.path for each in (one, other)]
    seen = page.seen(index, paths[0], paths[1])
    if seen is None:
        raise Problem(404, f"pictures {one} and {other} do not match")
    first, second = (_preview(page, each, 512) for each in (one, other))
    key = index.manifest.number, one, other
    return page.previews.of(key, lambda: look.difference(first, second, seen.map))


def _overview(page: Page, wanted: Asked) -> Response:
    index = page.index
    made = page.board(index, wanted.question, WAIT_S)
    if made is None:
        return page.html("waiting.html", index=index)
    marks = page.marks()
    groups = order.chosen(made, wanted.wanted, marks.is_settled)
    pages = max(1, -(-len(groups) // ON_A_PAGE))
    wanted = wanted.on(min(wanted.page, pages))
    part = groups[(wanted.page - 1) * ON_A_PAGE : wanted.page * ON_A_PAGE]
    formats = {each.picture.format for group in made.groups for each in group.members}
    settled = sum(map(marks.is_settled, made.groups))
    return page.html(
        "overview.html",
        index=index,
        asked=wanted,
        choices=CHOICES,
        **_archive(index),
        board=made,
        histogram=figures.histogram(made),
        groups=[(each, marks.of(each), marks.is_settled(each)) for each in part],
        count=len(groups),
        pages=pages,
        formats=sorted(formats),
        freed=sum(each.freed for each in made.groups),
        freed_here=sum(each.freed for each in groups),
        settled=settled,
        decided=marks.counts(),
    )


def _first_pair(page: Page, given: Mapping[str, str]) -> Response:
    """Lead to the nearest pair about which something is left to decide."""
    wanted, index = asked.read({**given, "by": "pairs"}), page.index
    made = page.board(index, wanted.question, WAIT_S)
    if made is None:
        return page.html("waiting.html", index=index)
    is_settled = page.marks().is_settled
    some = order.chosen(made, wanted.wanted, is_settled)
    first = next((each for each in some if not is_settled(each)), None)
    if first is None:
        return see_other(f"/review?{wanted.query()}")
    return see_other(f"/review/group/{first.key}?{wanted.query()}")


def _archive(index: Index) -> dict[str, Any]:
    counts = index.manifest.counts
    roots = [root.path for root in index.manifest.roots]
    common = os.path.commonpath(roots) if roots else b""
    return {
        "base": common,
        "roots": roots,
        "failed": sum(n for status, n in counts.items() if status not in READABLE | IGNORED),
    }


def _failures(page: Page) -> Response:
    found = page.index.failures()
    return page.html("failures.html", failures=found[:MOST_FAILURES], count=len(found))


def _group(page: Page, key: int, given: Mapping[str, str]) -> Response:
    wanted = asked.read(given)
    index = page.index
    made = page.board(index, wanted.question, 30.0)
    if made is None:
        return page.html("waiting.html", index=index)
    group = made.by_key.get(key)
    if group is None:
        raise Problem(404, _NO_GROUP)
    marks = page.marks()
    verdicts = marks.of(group)
    suggested = page.suggestion(index, group)
    ids = [each.image_id for each in group.members]
    kept = suggested.kept if suggested else _kept(ids, verdicts)
    one = _number(given.get("a"), ids, kept)
    rest = [each for each in ids if each != one]
    open_ones = [each for each in rest if not verdicts[each].verdict]
    other = _number(given.get("b"), rest, (open_ones or rest)[0])
    by_id = {each.image_id: each for each in group.members}
    left, right = by_id[one], by_id[other]
    seen = page.seen(index, left.picture.path, right.picture.path)
    return page.html(
        "group.html",
        index=index,
        asked=wanted,
        group=group,
        marks=verdicts,
        suggested=suggested,
        left=left,
        right=right,
        seen=seen,
        apart=marks.are_apart(left, right),
        rows=facts.rows(group.members, _archive(index)["base"], page.details(index, group.members)),
        place=order.place_of(made, wanted.wanted, group),
        base=_archive(index)["base"],
        kinds=board.KINDS,
        mode="difference" if given.get("mode") == "difference" and seen else "side",
        shown=shown,
    )


def _kept(ids: list[int], verdicts: Mapping[int, Any]) -> int:
    return next((each for each in ids if verdicts[each].verdict == "keep"), ids[0])


def _number(text: str | None, known: list[int], usual: int) -> int:
    return int(text) if text and text.isdecimal() and int(text) in known else usual
