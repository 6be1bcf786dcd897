"""Names of a folder in, what belongs to which picture out. Looks at nothing but names.

A companion goes where its picture goes. One name may belong to two pictures (a sidecar to both
halves of RAW+JPEG). ASCII letters are compared without case.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from operator import itemgetter

from annidx.images.content import RAW_SUFFIXES, SUFFIXES

DEVELOPED = frozenset(b".jpg .jpeg .jpe .jfif .heic .heif .hif".split())
"""What a camera writes beside a RAW file, and a phone beside the video of a Live Photo."""

LIVE_VIDEOS = frozenset(b".mov .mp4".split())

SIDECARS = frozenset(b".xmp .aae .thm .pp3 .dop".split())
"""Adobe and darktable, Apple, thumbnails, RawTherapee, DxO: ``IMG.xmp`` or ``IMG.jpg.xmp``."""

TAKEOUT_LENGTH = 46
"""Google Takeout cuts the name of a .json to so many characters, without suffix and number."""

_TAKEOUT = b"supplemental-metadata"
_PICTURES = SUFFIXES | RAW_SUFFIXES
_TAILS = frozenset(suffix[-4:] for suffix in SIDECARS | LIVE_VIDEOS | RAW_SUFFIXES | {b".json"})

# Apple's edited IMG_E1234 has its instructions in IMG_1234.AAE, those of the camera lie in
# IMG_O1234.AAE: both describe what was done to IMG_1234 and go with it.
_APPLE = re.compile(rb"(.*_)o(\d+)", re.DOTALL)
_NUMBERED = re.compile(rb"(.*)(\(\d+\))", re.DOTALL)

_Found = dict[bytes, tuple[bytes, ...]]


class Companions:
    """What may be a companion in one folder, found by the picture's name.

    Costs a tenth of a microsecond a name where there are none, and memory for companions only.

    Parameters
    ----------
    names : Collection of bytes
        Names of the files in the folder, in any order.

    Examples
    --------
    >>> beside = Companions([b"a.jpg", b"a.NEF", b"a.xmp", b"b.jpg", b"b.mov", b"c.png"])
    >>> beside.of(b"a.jpg"), beside.of(b"b.jpg"), beside.of(b"c.png")
    ((b'a.NEF', b'a.xmp'), (b'b.mov',), ())
    """

    __slots__ = ("_developed", "_sidecars", "_taken", "_takeout")

    def __init__(self, names: Collection[bytes]) -> None:
        self._sidecars: _Found = {}  # by a picture's stem or name
        self._taken: _Found = {}  # RAW and live videos, by stem
        self._developed: _Found = {}  # JPEG and HEIC that have a RAW, by stem
        self._takeout: _Found = {}  # by a picture's name, or see _cut()
        # Most folders have none: told by the ends of the names, which are few.
        tails = set(map(itemgetter(slice(-4, None)), names))
        if not _TAILS.isdisjoint(tail.lower() for tail in tails):
            self._sort_in(names)

    def __bool__(self) -> bool:
        return bool(self._sidecars or self._taken or self._takeout)

    def of(self, name: bytes) -> tuple[bytes, ...]:
        """Return the companions of a file, sorted; none when its name is no picture's."""
        lower = name.lower()
        stem, suffix = _split(lower)
        if suffix not in _PICTURES:
            return ()
        found = self._sidecars.get(stem, ()) + self._sidecars.get(lower, ())
        if suffix in DEVELOPED:
            found += self._taken.get(stem, ())
        elif suffix in RAW_SUFFIXES:
            found += self._developed.get(stem, ())
        if self._takeout:
            found += self._takeout.get(lower, ()) + self._takeout.get(_cut(stem, suffix), ())
        return tuple(sorted(set(found)))

    def _sort_in(self, names: Collection[bytes]) -> None:
        raws = set()
        for name in names:
            stem, suffix = _split(name.lower())
            if suffix in SIDECARS:
                of_apple = suffix == b".aae" and _APPLE.fullmatch(stem)
                _add(self._sidecars, b"".join(of_apple.groups()) if of_apple else stem, name)
            elif suffix in LIVE_VIDEOS:
                _add(self._taken, stem.removesuffix(b"_hevc"), name)  # so icloudpd names them
            elif suffix in RAW_SUFFIXES:
                _add(self._taken, stem, name)
                raws.add(stem)
            elif suffix == b".json":
                for key in _takeout_keys(stem):
                    _add(self._takeout, key, name)
        for name in names if raws else ():
            stem, suffix = _split(name.lower())
            if suffix in DEVELOPED and stem in raws:
                _add(self._developed, stem, name)


def _add(found: _Found, key: bytes, name: bytes) -> None:
    found[key] = (*found.get(key, ()), name)


def _takeout_keys(stem: bytes) -> list[bytes]:
    """Return under which keys a .json of Google Takeout is found, by its name without ``.json``.

    ``IMG(1).jpg`` has ``IMG.jpg(1).json`` or ``IMG.jpg.supplemental-metadata(1).json``, of whose
    long word any part may be cut off (ente-io/ente#4956).
    """
    numbered = _NUMBERED.fullmatch(stem)
    base, number = numbered.groups() if numbered else (stem, b"")
    head, dot, tail = base.rpartition(b".")
    picture, suffix = _split(head if dot and _TAKEOUT.startswith(tail) else base)
    keys = [picture + number + suffix]
    if len(base) >= TAKEOUT_LENGTH:
        keys.append(base + b"/" + number)
    return keys


def _cut(stem: bytes, suffix: bytes) -> bytes:
    """Return the key of the .json of a name that is too long; "/" keeps it apart from names."""
    numbered = _NUMBERED.fullmatch(stem)
    base, number = numbered.groups() if numbered else (stem, b"")
    text = (base + suffix).decode(errors="surrogateescape")
    return text[:TAKEOUT_LENGTH].encode(errors="surrogateescape") + b"/" + number


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Return stem and last suffix; five times as fast as os.path.splitext."""
    at = name.rfind(b".")
    return (name[:at], name[at:]) if at > 0 else (name, b"")
