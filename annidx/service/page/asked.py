"""What a page is asked for: its query, read leniently and written shortly."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlencode

from annidx.service.page.board import BY, KINDS, VIEWS, Question
from annidx.service.page.order import SORTS, Wanted

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_SORT = {"groups": "bytes", "pairs": "distance"}
STATES = {"": "All", "open": "Undecided", "decided": "Decided"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, a filter and a page of it.

    Attributes
    ----------
    question : Question
    wanted : Wanted
    page : int
        From 1.
    """

    question: Question
    wanted: Wanted
    page: int = 1

    def query(self, **changes: Any) -> str:
        """Return it as the query of an address, without what is as by default."""
        asked = self.question
        own = {"view": asked.view, "cutoff": asked.cutoff or "", "by": asked.by}
        told = {**own, **asdict(self.wanted), "page": self.page, **changes}
        usual = {"view": "duplicates", "sort": _SORT[told["by"]], "page": 1, "by": "groups"}
        return urlencode({k: v for k, v in told.items() if v not in ("", usual.get(k))})

    @property
    def plain(self) -> str:
        """The query of the same view without a filter, an order or a cutoff of its own."""
        return (
            Asked(Question(self.question.view, by=self.question.by), Wanted())
            .on(1)
            .query(sort=_SORT[self.question.by])
        )

    @property
    def is_filtered(self) -> bool:
        """Whether the query says more than that."""
        return self.on(1).query() != self.plain

    @property
    def pairs(self) -> bool:
        """Whether pairs are asked for, one after the other."""
        return self.question.by == "pairs"

    def on(self, page: int) -> Asked:
        """Return the same on another page."""
        return replace(self, page=page)


def read(given: Mapping[str, str]) -> Asked:
    """Return what a query asks for; what makes no sense is as if it were not there."""

    def one_of(name: str, known: Collection[str], usual: str) -> str:
        return given[name] if given.get(name) in known else usual

    def day(name: str) -> str:
        return given[name] if _DAY.fullmatch(given.get(name, "")) else ""

    page, by = given.get("page", "1"), one_of("by", BY, "groups")
    return Asked(
        Question(one_of("view", VIEWS, "duplicates"), _number(given.get("cutoff", "")), by),
        Wanted(
            sort=one_of("sort", SORTS, _SORT[by]),
            folder=given.get("folder", "")[:4096],
            kind=one_of("kind", KINDS, ""),
            format=given.get("format", "")[:20],
            since=day("since"),
            until=day("until"),
            state=one_of("state", STATES, ""),
        ),
        max(1, int(page)) if re.fullmatch("[0-9]{1,7}", page) else 1,
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 < value <= 1e6 else None
