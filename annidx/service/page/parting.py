"""Groups that were decided apart since they were made: each part is a group, what is alone none.

Searches leave such pairs away (:class:`annidx.decisions.Apart`), but making groups anew takes as
long as a search of all pairs, which is too long after each decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from annidx.service.page.board import Board, Found, Member
from annidx.service.page.marks import Marks


def parted(board: Board, marks: Marks) -> Board:
    """Return a board without what holds no group together any more.

    Two pictures stay in one group as long as a chain of others joins them of which no two
    neighbours were decided to be no duplicates. The part with the least number keeps the key of
    the group, so that its address stays; `left` counts what is in no group any more.
    """
    apart = {each for pair in marks.decided.apart for each in pair}
    if not apart:
        return board
    groups: list[Found] = []
    left = 0
    for group in board.groups:
        if sum(each.picture.pixel_hash in apart for each in group.members) < 2:
            groups.append(group)
            continue
        parts = [part for part in _parts(group.members, marks) if len(part) > 1]
        left += len(group.members) - sum(map(len, parts))
        groups += _named(group, parts)
    by_key = {each.key: each for each in groups}
    return replace(board, groups=tuple(groups), by_key=by_key, left=left)


def _parts(members: Sequence[Member], marks: Marks) -> Iterator[list[Member]]:
    """Yield what hangs together, each part in the order of the group."""
    rest = list(members)
    while rest:
        part, ahead = [], [rest.pop(0)]
        while ahead:
            one = ahead.pop()
            part.append(one)
            joined = [each for each in rest if not marks.are_apart(one, each)]
            rest = [each for each in rest if each not in joined]
            ahead += joined
        yield sorted(part, key=members.index)


def _named(group: Found, parts: Sequence[list[Member]]) -> Iterator[Found]:
    """Yield the parts of a group as groups, one of them under its key."""
    if [len(each) for each in parts] == [len(group.members)]:
        yield group
        return
    numbers = [min(each.image_id for each in part) for part in parts]
    heir = numbers.index(min(numbers)) if numbers else -1
    for at, (number, part) in enumerate(zip(numbers, parts, strict=True)):
        sizes = [each.picture.size for each in part]
        freed = sum(sizes) - max(sizes) if group.freed else 0
        key = group.key if at == heir else number
        yield replace(group, key=key, members=tuple(part), kind=_kind(group, part), freed=freed)


def _kind(group: Found, part: Sequence[Member]) -> str:
    if len({each.picture.content_hash for each in part}) == 1:
        return "identical"
    return "same-pixels" if len({x.picture.pixel_hash for x in part}) == 1 else group.kind
