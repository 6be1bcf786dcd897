"""What forms of the page do: decide, take back, plan, apply, undo. All through annidx.review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from starlette.responses import Response

from annidx.errors import ActionRefused
from annidx.index import Index
from annidx.review import apply, deciding, plan, undo
from annidx.review.journal import journals
from annidx.review.planned import Plan
from annidx.service.page import asked, order
from annidx.service.page.asked import Asked
from annidx.service.page.board import Board, Found
from annidx.service.page.shared import Page, name_of, see_other
from annidx.service.problems import Problem
from annidx.showing import shown

MOST_LISTED = 1000
_WORDS = {
    "keep": "kept",
    "remove": "to be removed",
    "not-duplicate": "no duplicates",
    "protect": "protected",
    "unprotect": "no longer protected",
}


def router(page: Page) -> APIRouter:
    """Return the routes that act, and the pages of plans."""
    routes = APIRouter(include_in_schema=False)

    @routes.post("/review/decide")
    async def decide(request: Request) -> Response:
        return await page.acted(request, lambda fields: _decide(page, fields))

    @routes.get("/review/plan")
    async def plans() -> Response:
        return await page.answer(_plans, page)

    @routes.post("/review/plan")
    async def make(request: Request) -> Response:
        return await page.acted(request, lambda fields: _make(page, fields))

    @routes.get("/review/plan/{plan_id}")
    async def one_plan(plan_id: str) -> Response:
        return await page.answer(_plan, page, plan_id)

    @routes.post("/review/apply")
    async def applied(request: Request) -> Response:
        return await page.acted(request, lambda fields: _apply(page, fields))

    @routes.post("/review/undo")
    async def undone(request: Request) -> Response:
        return await page.acted(request, lambda fields: _undo(page, fields))

    return routes


def _decide(page: Page, fields: Mapping[str, str]) -> Response:
    index, what = page.index, fields.get("do", "")
    if what == "undo":
        taken = deciding.take_back(index)
        page.say(f"Taken back: {name_of(taken.one.path)} {_WORDS[taken.verdict]}.")
        return see_other(_back(fields))
    key = _whole(fields, "key")
    wanted = asked.read(dict(parse_qsl(fields.get("query", ""))))
    made = page.board(index, wanted.question, 30.0)
    group = made.by_key.get(key) if made else None
    if made is None or group is None:
        raise Problem(409, "The index was built anew: go back to the overview.")
    paths = {each.image_id: each.picture.path for each in group.members}
    try:
        words = _decided(page, index, group, what, [paths[x] for x in _chosen(fields, paths)])
    except ActionRefused as error:
        page.say(shown(str(error)))
        return see_other(_back(fields))
    page.say(words)
    return see_other(_onward(page, made, wanted, group, fields))


def _onward(
    page: Page, before: Board, wanted: Asked, group: Found, fields: Mapping[str, str]
) -> str:
    """Return where to go after a decision: on, when nothing is left to decide about the group."""
    marks, now = page.marks(), page.board(page.index, wanted.question, 30.0)
    still = now.by_key.get(group.key) if now else None
    if still is not None and not marks.is_settled(still):
        return _back(fields)
    after = order.next_open(before, wanted.wanted, group.key, marks.is_settled)
    goal = after or still
    return _back({**fields, "key": str(goal.key) if goal else ""})


def _decided(page: Page, index: Index, group: Found, what: str, chosen: Sequence[bytes]) -> str:
    names = [name_of(each) for each in chosen]
    if what == "accept":
        return _accept(page, index, group)
    if what == "keep" and chosen:
        deciding.keep(index, chosen[:1])
        return f"{names[0]} is kept."
    if what == "remove" and len(chosen) == 2:
        deciding.remove(index, chosen[0], chosen[1])
        return f"{names[0]} is to be removed, {names[1]} is kept for it."
    if what == "apart" and len(chosen) == 2:
        deciding.not_duplicates(index, chosen[0], chosen[1])
        return f"{names[0]} and {names[1]} are no duplicates."
    raise Problem(422, "expected keep, remove, apart, accept or undo, and the pictures")


def _accept(page: Page, index: Index, group: Found) -> str:
    """Decide as suggested: what does not match the kept one directly stays undecided."""
    suggested = page.suggestion(index, group)
    if suggested is None:
        raise Problem(409, "nothing is suggested for this group")
    paths = {each.image_id: each.picture.path for each in group.members}
    kept = paths[suggested.kept]
    done, left = 0, []
    for number in suggested.reasons:
        if page.marks().of(group)[number].verdict == "keep":
            continue
        try:
            deciding.remove(index, paths[number], kept)
            done += 1
        except ActionRefused:
            left.append(name_of(paths[number]))
    words = f"{name_of(kept)} is kept, {done} to be removed for it."
    if left:
        words += f" Not decided, since they do not match it directly: {', '.join(left)}."
    return words


def _chosen(fields: Mapping[str, str], paths: Mapping[int, bytes]) -> list[int]:
    found = [int(fields[each]) for each in ("one", "other") if fields.get(each, "").isdecimal()]
    if any(each not in paths for each in found):
        raise Problem(409, "a picture is not of this group any more: reload the page")
    return found


def _whole(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not text.isdecimal():
        raise Problem(422, f"{name} is {text!r}, expected a number")
    return int(text)


def _back(fields: Mapping[str, str]) -> str:
    """Return where a form came from; a page of this site whatever it says."""
    query = asked.read(dict(parse_qsl(fields.get("query", "")))).query()
    key = fields.get("key", "")
    if not key.isdecimal():
        return f"/review?{query}".rstrip("?")
    return f"/review/group/{key}?{query}".rstrip("?")


def _plans(page: Page) -> Response:
    known = [
        (each.plan_id, len(each.pending), len(each.entries))
        for each in reversed(journals(page.held.place))
    ]
    marks = page.marks()
    return page.html("plans.html", known=known, decided=marks.counts())


def _make(page: Page, fields: Mapping[str, str]) -> Response:
    auto: plan.Auto = "identical" if fields.get("identical") else "none"
    made = plan.make(page.index, auto=auto, keep=page.rules)
    page.keep_plan(made)
    return see_other(f"/review/plan/{made.plan_id}")


def _known(page: Page, plan_id: str) -> tuple[Plan, apply.Report | None]:
    if plan_id not in page.plans:
        raise Problem(404, "This page knows no such plan any more: make a new one.")
    return page.plans[plan_id]


def _plan(page: Page, plan_id: str) -> Response:
    made, report = _known(page, plan_id)
    if report is None:  # what it would do, checked now
        report = apply.apply(page.held.place, made, act=False)
    known = {each.plan_id: len(each.pending) for each in journals(page.held.place)}
    return page.html(
        "plan.html",
        plan=made,
        report=report,
        outcomes=report.outcomes[:MOST_LISTED],
        applied=plan_id in known,
        pending=known.get(plan_id, 0),
    )


def _apply(page: Page, fields: Mapping[str, str]) -> Response:
    made, _ = _known(page, fields.get("plan", ""))
    digest = fields.get("digest", "")
    report = apply.apply(page.held.place, made, act=True, digest=digest or "none", lock_wait_s=5.0)
    page.keep_plan(made, report)
    done, refused = report.count("done", "already"), report.count("refused")
    page.say(f"{done} moved away, {refused} left where they are.")
    return see_other(f"/review/plan/{made.plan_id}")


def _undo(page: Page, fields: Mapping[str, str]) -> Response:
    plan_id = fields.get("plan", "")
    undone = undo.undo(page.held.place, plan_id, act=True, lock_wait_s=5.0)
    if plan_id in page.plans:
        page.keep_plan(page.plans[plan_id][0])
    back, refused = undone.count("done"), undone.count("refused")
    left = f", {refused} could not be" if refused else ""
    page.say(f"{back} put back where they lay{left}.")
    return see_other("/review/plan")
