"""Decisions in, a plan out: what is removed, for which kept file, and what is refused and why.

Looks at files (their identities, their companions) and changes none.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from annidx import decisions
from annidx.decisions import Decision, Decisions, Subject
from annidx.index import Index
from annidx.review import suggest
from annidx.review.beside import sidecars_and_halves
from annidx.review.journal import Entry, journals
from annidx.review.moving import Identity, facts_of, identity_of
from annidx.review.pictures import Picture, is_protected, same_bytes, with_pixels
from annidx.review.planned import Plan, Refusal
from annidx.review.suggest import Rules
from annidx.roots import PathLike, expand
from annidx.store import identity

Auto = Literal["none", "identical"]

_COPIES = frozenset({"identical", "same-pixels"})


@dataclass(frozen=True, slots=True)
class _Wish:
    """A removal that somebody wants, before it is known whether it may be."""

    one: Picture
    kept: Picture
    kind: str
    reason: str
    source: str


@dataclass(slots=True)
class _Draft:
    """What a plan is made of, as it is gathered.

    Attributes
    ----------
    decided : Decisions
    protected : tuple of bytes
    done : set of bytes
        Paths of what earlier plans removed: nothing is said of them.
    kept : set of bytes
        Paths of files that are to be kept by a decision, or are kept for another one.
    wishes : dict of bytes to _Wish
        By the path that is to be removed.
    refusals : list of Refusal
    """

    decided: Decisions
    protected: tuple[bytes, ...]
    done: set[bytes]
    kept: set[bytes] = field(default_factory=set)
    wishes: dict[bytes, _Wish] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    def wish(self, wish: _Wish) -> None:
        """Take in a removal."""
        self.wishes[wish.one.path] = wish
        self.kept.add(wish.kept.path)


def make(
    index: Index,
    *,
    auto: Auto = "none",
    keep: Rules | None = None,
    reference: Sequence[PathLike] = (),
    now: datetime | None = None,
) -> Plan:
    """Return what is to be removed: what was decided and, with `auto`, what is byte-identical.

    Every removal names one kept file that it matches directly, and a file that is kept for any
    other is removed nowhere. Near-duplicates come in by explicit decisions alone.

    Parameters
    ----------
    index : Index
    auto : {'none', 'identical'}
        'identical': also remove all byte-identical copies but one.
    keep : Rules, optional
        Which of several identical ones is kept; by default :data:`annidx.review.suggest.DEFAULT`.
    reference : sequence of folders
        Nothing in them is removed; they add to those that are protected by a decision.
    now : datetime, optional
        For the plan's name.
    """
    place = index.snapshot.index
    decided = decisions.read(place)
    protected = tuple(dict.fromkeys([*decided.protected, *map(expand, reference)]))
    known = [
        entry for journal in journals(place) for entry in journal.entries.values() if _gone(entry)
    ]
    draft = _Draft(decided, protected, done={each.path for each in known})
    _add_decisions(draft, index)
    if auto == "identical":
        _add_identical(draft, index, keep or suggest.rules())
    removals = _allowed(draft, _kept_before(known))
    stamp = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%d-%H%M%S")
    return Plan(
        plan_id=f"{stamp}-{secrets.token_hex(4)}",
        index_id=identity.index_id(place),
        snapshot=index.manifest.number,
        protected=protected,
        removals=tuple(sidecars_and_halves(removals, draft.kept, protected)),
        refusals=tuple(sorted(draft.refusals, key=lambda each: each.path)),
    )


def _add_decisions(draft: _Draft, index: Index) -> None:
    """Take in what was decided about files that are still there; the last word counts."""
    about = [each for each in draft.decided.standing if each.verdict in ("keep", "remove")]
    subjects = [each for one in about for each in (one.one, one.other) if each]
    known = with_pixels(index, {each.pixel_hash for each in subjects})
    last: dict[bytes, Decision] = {}
    for each in about:
        if each.one.path in draft.done and _facts(each.one.path) is None:
            continue
        found = _found(known[each.one.pixel_hash], each.one)
        if isinstance(found, Picture):
            last.pop(found.path, None)
            last[found.path] = each
        elif each.verdict == "remove":
            draft.refusals.append(Refusal(each.one.path, _path(each.other), found))
    draft.kept |= {path for path, each in last.items() if each.verdict == "keep"}
    for path, each in last.items():
        if each.verdict == "remove" and each.other is not None:
            one = next(some for some in known[each.one.pixel_hash] if some.path == path)
            _add_removal(draft, each, one, known[each.other.pixel_hash], last)


def _add_removal(
    draft: _Draft,
    decision: Decision,
    one: Picture,
    others: Sequence[Picture],
    last: dict[bytes, Decision],
) -> None:
    assert decision.other is not None
    left = [each for each in others if each.path != one.path]
    kept = _found(left, decision.other)
    if isinstance(kept, str):  # any picture of those pixels that stays will do
        staying = [each for each in left if _verdict(last, each) != "remove"]
        if not staying:
            reason = f"the file that is kept for it {kept}"
            draft.refusals.append(Refusal(one.path, decision.other.path, reason))
            return
        kept = staying[0]
    words = decision.words or decision.kind
    reason = f"{words}; decided on {decision.time[:10]}"
    draft.wish(_Wish(one, kept, decision.kind, reason, "decision"))


def _verdict(last: dict[bytes, Decision], picture: Picture) -> str:
    decision = last.get(picture.path)
    return "" if decision is None else decision.verdict


def _add_identical(draft: _Draft, index: Index, keep: Rules) -> None:
    """Take in all byte-identical files but one of each content."""
    for several in same_bytes(index):
        pixels = several[0].pixel_hash
        if draft.decided.are_apart(pixels, pixels):
            continue
        there = _different_files(several)
        free = [each for each in there if each.path not in draft.wishes]
        if len(free) < 2:
            continue
        choice = suggest.choose(free, keep, kept=draft.kept, protected=draft.protected)
        for each, why in choice.others:
            if each.path not in draft.kept and not is_protected(each.path, draft.protected):
                reason = f"identical bytes; the other one is kept: {why}"
                draft.wish(_Wish(each, choice.kept, "identical", reason, "identical"))


def _different_files(pictures: Sequence[Picture]) -> list[Picture]:
    """Return those that are there, each file once: hard links and double mounts are one."""
    seen: set[Identity] = set()
    found = []
    for each in pictures:
        facts = _facts(each.path)
        if facts is not None and facts not in seen:
            seen.add(facts)
            found.append(each)
    return found


def _allowed(draft: _Draft, kept_before: set[bytes]) -> list[_Wish]:
    """Return the wishes that may be fulfilled; the others become refusals."""
    identities = {_facts(path) for path in draft.kept}
    for_what = {each.kept.path: path for path, each in draft.wishes.items()}
    allowed = []
    for path, wish in sorted(draft.wishes.items()):
        folder = is_protected(path, draft.protected)
        reason = ""
        if folder:
            reason = f"lies in the protected folder {os.fsdecode(folder)}"
        elif path in for_what:
            reason = f"is kept for {os.fsdecode(for_what[path])}: decide for one that stays"
        elif path in draft.kept:
            reason = "is to be kept by a decision"
        elif wish.kind not in _COPIES and wish.one.content_hash in kept_before:
            reason = "was kept for a file that an earlier plan removed: undo that one first"
        else:
            reason = _not_two(wish)
            if not reason and _facts(path) in identities:
                reason = "is a file that is kept, by another name"
        if reason:
            draft.refusals.append(Refusal(path, wish.kept.path, reason))
        else:
            allowed.append(wish)
    return allowed


def _not_two(wish: _Wish) -> str:
    """Return why the two are not two files that are there; empty when they are."""
    one, kept = _facts(wish.one.path), _facts(wish.kept.path)
    if one is None:
        return "is not there any more"
    if kept is None:
        return "the file that is kept for it is not there any more"
    return "is the same file as the kept one, by another name" if one == kept else ""


def _gone(entry: Entry) -> bool:
    return entry.state in ("moved", "purged")


def _kept_before(known: Sequence[Entry]) -> set[bytes]:
    """Return the contents that earlier plans kept for pictures that are no copies of them.

    A chain over time: where A was removed for B, B may not go for a C that A is not like. Of
    copies it does not matter: what B is like, A was like.
    """
    return {each.kept_hash for each in known if each.kind not in (*_COPIES, "companion")}


def _found(pictures: Sequence[Picture], subject: Subject) -> Picture | str:
    """Return which of the pictures of some pixels is meant, or why none is."""
    there = [each for each in pictures if each.path == subject.path]
    if there or len(pictures) == 1:
        return [*there, *pictures][0]
    if not pictures:
        return "is not in the index any more"
    return f"was moved, and {len(pictures)} files have its pixels: decide again which is meant"


def _facts(path: bytes) -> Identity | None:
    try:
        facts = facts_of(path)
    except OSError:
        return None
    return None if facts is None else identity_of(facts)


def _path(subject: Subject | None) -> bytes:
    return b"" if subject is None else subject.path
