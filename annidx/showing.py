"""Words for people: paths without control characters, counts with their nouns, bytes."""

from __future__ import annotations

import os


def shown(text: bytes | str) -> str:
    r"""Return a path or text for people: what is not UTF-8 or not printable is escaped.

    Examples
    --------
    >>> shown(b"a\nb\xff.jpg")
    'a\\nb\\xff.jpg'
    """
    text = os.fsdecode(text)
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte that is not UTF-8, as Python carries it
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> plural(1, "pair"), plural(1200, "pair")
    ('1 pair', '1,200 pairs')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def bytes_text(size: float) -> str:
    """Return bytes for people.

    Examples
    --------
    >>> bytes_text(999), bytes_text(1_250_000)
    ('999 B', '1.2 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
