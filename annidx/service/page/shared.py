"""What the routes of the page share: templates, previews, boards, and how an answer is made."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import RedirectResponse, Response

from annidx import __version__
from annidx.errors import AnnidxError, PictureUnreadable
from annidx.images.facts import Details
from annidx.index import Index
from annidx.review import clean
from annidx.review.apply import Report
from annidx.review.pictures import Picture
from annidx.review.planned import Plan
from annidx.review.suggest import Rules
from annidx.service.holder import Held
from annidx.service.page import look, parting
from annidx.service.page.board import Board, Boards, Found, Member, Question
from annidx.service.page.marks import Latest, Marks, Suggestion
from annidx.service.page.session import Session
from annidx.service.problems import Problem
from annidx.service.running import Service
from annidx.showing import bytes_text, shown

HERE = Path(__file__).parent
STATIC = {
    name: (media, (HERE / "static" / name).read_bytes())
    for name, media in (
        ("page.css", "text/css"),
        ("page.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    )
}
VERSION = hashlib.sha256(b"".join(data for _, data in STATIC.values())).hexdigest()[:12]
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; "
    "script-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    # With no-referrer a browser sends forms with "Origin: null", which the guard refuses.
    "Referrer-Policy": "same-origin",
}
MOST_SEEN = 2000
MOST_PLANS = 20
MOST_DETAILS = 12
"""Pictures of a group whose files are read for their metadata: whole files, some ms each."""


class Page:
    """What the routes of the page share.

    Parameters
    ----------
    service : Service
    session : Session
    rules : Rules
        Which picture of several is suggested to be kept.
    """

    def __init__(self, service: Service, session: Session, rules: Rules) -> None:
        self.service, self.session, self.rules = service, session, rules
        self.boards, self.previews = Boards(), look.Previews()
        self.marks = Latest(self.held.place)
        self.plans: OrderedDict[str, tuple[Plan, Report | None]] = OrderedDict()
        self._seen: OrderedDict[tuple[int, bytes, bytes], look.Seen | None] = OrderedDict()
        self._looked: OrderedDict[tuple[int, tuple[int, ...]], list[Picture]] = OrderedDict()
        self._details: OrderedDict[tuple[bytes, bytes], Details] = OrderedDict()
        self._parted: tuple[Board, Marks, Board] | None = None
        self._said = ""
        self._templates = templates()

    @property
    def held(self) -> Held:
        """The index that is reviewed."""
        return self.service.holder.of()

    @property
    def index(self) -> Index:
        """Its newest snapshot."""
        return self.held.index

    def board(self, index: Index, asked: Question, wait_s: float) -> Board | None:
        """Return the groups of a question as they are by now; None when they are being made."""
        made, marks = self.boards.of(index, asked, wait_s), self.marks()
        if made is None:
            return None
        known = self._parted
        if known is None or known[0] is not made or known[1] is not marks:
            self._parted = known = made, marks, parting.parted(made, marks)
        return known[2]

    def say(self, words: str) -> None:
        """Have the next page say something."""
        self._said = words

    def html(self, template: str, status: int = 200, **facts: Any) -> Response:
        """Return a page."""
        said, self._said = self._said, ""
        text = self._templates.get_template(template).render(
            form=self.session.form, said=said, release=__version__, **facts
        )
        return Response(text.encode(errors="replace"), status, HEADERS, "text/html")

    def error(self, words: str, status: int) -> Response:
        """Return a page that says what went wrong."""
        return self.html("error.html", status, words=words)

    def seen(self, index: Index, one: bytes, other: bytes) -> look.Seen | None:
        """Return what two files are to each other, kept for a while."""
        key = index.manifest.number, one, other
        if key not in self._seen:
            self._seen[key] = look.seen(index, one, other)
            while len(self._seen) > MOST_SEEN:
                self._seen.popitem(last=False)
        return self._seen[key]

    def preview(self, index: Index, image_id: int, side: int) -> bytes:
        """Return a picture as a small JPEG.

        Raises
        ------
        PictureUnreadable, PictureNotFound
        """
        record = index.picture(image_id)
        key = record.file.path, record.content_hash, side
        return self.previews.of(key, lambda: self.service.decoders.thumbnail(record.file, side))

    def suggestion(self, index: Index, group: Found) -> Suggestion | None:
        """Return which picture of a group is suggested to be kept; looked at once, then kept."""
        if group.kind != "edited":  # copies have the same laid over them, others no suggestion
            return self.marks().suggestion(group, self.rules)
        key = index.manifest.number, tuple(each.image_id for each in group.members)
        if key not in self._looked:
            pictures = [each.picture for each in group.members]
            self._looked[key] = clean.marked(index, key[1], pictures)
            while len(self._looked) > MOST_SEEN:
                self._looked.popitem(last=False)
        return self.marks().suggestion(group, self.rules, self._looked[key])

    def details(self, index: Index, members: Sequence[Member]) -> dict[int, Details]:
        """Return what the files of some pictures say themselves, the first of a large group."""
        found = {}
        for each in members[:MOST_DETAILS]:
            record = index.picture(each.image_id)
            key = record.file.path, record.content_hash
            if key not in self._details:
                try:
                    self._details[key] = self.service.decoders.details(record.file)
                except PictureUnreadable:
                    continue
                while len(self._details) > MOST_SEEN:
                    self._details.popitem(last=False)
            found[each.image_id] = self._details[key]
        return found

    def keep_plan(self, plan: Plan, report: Report | None = None) -> None:
        """Keep a plan, and what became of it."""
        self.plans[plan.plan_id] = plan, report
        while len(self.plans) > MOST_PLANS:
            self.plans.popitem(last=False)

    async def answer(self, make: Callable[..., Response], *given: Any) -> Response:
        """Return what a function makes of a request, in one of the threads; errors as pages."""
        return await self._guarded(self.service.pool.run(make, *given))

    async def acted(self, request: Request, make: Callable[..., Response]) -> Response:
        """Return what a function makes of a form, if it came from a page of this session."""
        pairs = parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True)
        fields = dict(pairs)
        if not self.session.accepts(fields.get("form", "")):
            return self.error("This form is not of this session: reload the page.", 403)
        return await self._guarded(self.service.pool.run(make, fields))

    async def _guarded(self, made: Awaitable[Response]) -> Response:
        try:
            return await made
        except Problem as error:
            return self.error(error.detail, error.status)
        except AnnidxError as error:
            return self.error(shown(str(error)), error.http_status)


def templates() -> Environment:
    """Return what renders pages; all that is put into them is escaped."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"path": shown, "bytes": bytes_text, "name": name_of}
    made.globals |= {"folder_of": folder_of, "version": VERSION}
    return made


def see_other(where: str) -> Response:
    """Return what sends a browser on after a form."""
    return RedirectResponse(where, 303, headers=HEADERS)


def name_of(path: bytes) -> str:
    """Return the name of a file, for people."""
    return shown(path.rpartition(b"/")[2])


def folder_of(path: bytes, base: bytes = b"") -> str:
    """Return the folder of a file, for people, below what all roots have in common."""
    folder = path.rpartition(b"/")[0]
    return shown(folder[len(base) :].lstrip(b"/") if folder.startswith(base) else folder) or "."
