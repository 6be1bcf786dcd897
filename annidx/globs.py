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
    texts = [os.path.expanduser(glob) for glob in globs]  # noqa: PTH111 - a glob is no path
    if not all(texts):
        message = "a glob is empty: expected one such as '*.jpg' or '2019/**'"
        raise UsageError(message)
    names = [_translated(text) for text in texts if "/" not in text]
    paths = [_whole(text) for text in texts if "/" in text]
    try:
        is_name, is_path = _any_of(names), _any_of(paths)
    except re.error as error:
        message = f"a glob of {', '.join(globs)} makes no sense: {error.msg}"
        raise UsageError(message) from None
    known: dict[bytes, bool] = {}

    def matches(path: bytes) -> bool:
        folder, _, name = path.rpartition(b"/")
        if names and is_name(os.fsdecode(name)):
            return True
        if not paths:
            return False
        if folder not in known:  # a folder that matches stands for all in it
            known[folder] = bool(is_path(os.fsdecode(folder)))
        return known[folder] or bool(is_path(os.fsdecode(path)))

    return matches


def _any_of(expressions: Sequence[str]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(expressions), re.DOTALL).fullmatch


def _whole(glob: str) -> str:
    """Return the expression of a glob with a slash: whole paths, and all beneath a folder."""
    text = glob.rstrip("/")
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
