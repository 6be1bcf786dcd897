"""Globs on absolute paths, for the pictures that a search is asked for. Bytes in, no disk."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from annidx.errors import UsageError

_WILD = re.compile(r"[*?\[]")


def matcher(globs: Sequence[str]) -> Callable[[bytes], bool]:
    """Return what tells of an absolute path whether one of the globs matches it.

    Parameters
    ----------
    globs : sequence of str
        At least one. ``*`` stands for any characters but ``/``, ``?`` for one such, ``[abc]`` and
        ``[!abc]`` for one that is or is not listed, ``**`` for any characters, ``/`` included, and
        ``**/`` for any number of folders, none included. Case counts; ``[*]`` is a star.

        A glob without ``/`` matches the name of the file, in whatever folder. One with ``/``
        matches the whole path, or that of a folder, which stands for everything beneath it. It
        begins anywhere below the top (``2019/*.jpg`` is ``**/2019/*.jpg``), unless its first
        characters are ``/``, ``~``, ``./`` or ``../``.

    Raises
    ------
    UsageError
        For an empty one, and for a set with a backward range: ``[z-a]``.

    Examples
    --------
    >>> matches = matcher(["*.png", "2019/**/a?.jpg"])
    >>> matches(b"/p/x.png"), matches(b"/p/2019/aa.jpg"), matches(b"/p/2019/trip/1/ab.jpg")
    (True, True, True)
    >>> matches(b"/p/x.PNG"), matches(b"/p/2019/trip/abc.jpg")
    (False, False)
    """
    expression = "|".join(map(_expression, globs))
    try:
        found = re.compile(expression, re.DOTALL).fullmatch
    except re.error as error:
        message = f"a glob of {', '.join(globs)} makes no sense: {error.msg}"
        raise UsageError(message) from None
    return lambda path: found(os.fsdecode(path)) is not None


def _expression(glob: str) -> str:
    text = os.path.expanduser(glob)  # noqa: PTH111 - a glob is no path
    if not text:
        message = "a glob is empty: expected one such as '*.jpg' or '2019/**'"
        raise UsageError(message)
    if "/" not in text:
        return f"(?:.*/)?{_translated(text)}"
    text = text.rstrip("/")
    if text.startswith(("/", "./", "../")) or text in ("", ".", ".."):
        return f"{_translated(_from_top(text or '/'))}(?:/.*)?"
    return f"{_translated(f'/**/{text}')}(?:/.*)?"


def _from_top(glob: str) -> str:
    """Return a glob with the real path of its folders: none in an index has symbolic links."""
    wild = _WILD.search(glob)
    if wild is None:
        return _WILD.sub(r"[\g<0>]", os.path.realpath(glob)).rstrip("/")
    head, _, tail = glob[: wild.start()].rpartition("/")
    folder = _WILD.sub(r"[\g<0>]", os.path.realpath(head or "/")).rstrip("/")
    return f"{folder}/{tail}{glob[wild.start() :]}"


def _translated(glob: str) -> str:
    parts = []
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at):
            parts.append("(?:.*/)?" if at == 0 or glob[at - 1] == "/" else ".*/")
            at += 3
        elif glob.startswith("**", at):
            parts.append(".*")
            at += 2
        elif glob[at] == "[" and (end := _end_of_set(glob, at)):
            parts.append(_set(glob[at + 1 : end]))
            at = end + 1
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(glob[at], re.escape(glob[at])))
            at += 1
    return "".join(parts)


def _end_of_set(glob: str, at: int) -> int:
    """Return where the set that begins at a bracket ends, 0 when it does not."""
    first = at + (2 if glob.startswith("!", at + 1) else 1)
    return max(0, glob.find("]", first + 1))


def _set(inside: str) -> str:
    negated = inside.startswith("!")
    # A range keeps its dash; whatever else means something to re is escaped.
    escaped = re.sub(r"([\\^\[\]&~|])", r"\\\1", inside[negated:])
    return f"(?!/)[{'^' if negated else ''}{escaped}]"
