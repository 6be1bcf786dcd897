"""Bytes in, recognition and hashes out: what a file is, without decoding it.

Knows containers (JPEG segments, PNG chunks, RIFF) but no pixels and no Pillow.
"""

from __future__ import annotations

import os
import re

from blake3 import blake3

SUFFIXES = frozenset(
    b".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .webp .avif .avifs .heic .heif .hif .tif .tiff "
    b".bmp .pbm .pgm .ppm .pnm .ico .jp2 .j2k .jpf .jpx .j2c".split()
)
"""A file with such a name claims to be a picture, whatever it holds."""

RAW_SUFFIXES = frozenset(
    b".3fr .arw .cr2 .cr3 .dng .erf .iiq .kdc .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl .sr2 "
    b".srf .srw .x3f".split()
)
"""Camera RAW. Pillow opens some of them as their 160-pixel previews: never let it."""

_STRONG = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II[*+]\0|MM\0[*+]"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"
    rb"|....ftyp(?:heic|heix|hevc|hevx|heim|heis|mif1|msf1|avif|avis)",
    re.DOTALL,
)
_WEAK = re.compile(
    rb"BM|P[1-7fFy][\s#]|\x00\x00\x01\x00", re.DOTALL
)  # also how ordinary files may begin
_RAW = re.compile(rb"II\*\0....CR|IIU\0|IIR[OS]|MMOR|FUJIFILMCCD-RAW|....ftypcrx |\0MRM", re.DOTALL)

HEAD_BYTES = 32
"""So much of a file decides what it may be."""


def may_be_picture(path: bytes, head: bytes) -> bool:
    """Tell whether a file is worth reading whole: it begins like a picture or is named like one."""
    return claims_picture(path, head) or bool(_WEAK.match(head)) or is_raw(path, head)


def claims_picture(path: bytes, head: bytes) -> bool:
    """Tell whether a failure to decode is news: the first bytes or the name promise a picture."""
    return suffix(path) in SUFFIXES or bool(_STRONG.match(head))


def is_raw(path: bytes, head: bytes) -> bool:
    """Tell whether a file is camera RAW by its first bytes, or a TIFF container with a RAW name."""
    tiff_named_raw = suffix(path) in RAW_SUFFIXES and bool(_STRONG.match(head))
    return bool(_RAW.match(head)) or tiff_named_raw


def suffix(path: bytes) -> bytes:
    """Return the last suffix in lower case, with its dot; empty when there is none."""
    return os.path.splitext(path)[1].lower()


def content_hash(data: bytes) -> bytes:
    """Return the BLAKE3 hash of all bytes, 32 bytes."""
    return blake3(data).digest()


def pixel_hash(data: bytes, orientation: int = 1) -> bytes:
    """Return a hash of what makes the pixels and of nothing else, 32 bytes.

    EXIF, XMP, IPTC, comments and dates are left out, so that a rating or a geotag does not make
    a new picture; the colour profile and the orientation stay in, since they change what is seen.
    Containers other than JPEG, PNG and WebP are hashed whole: then only identical files agree.

    Parameters
    ----------
    data : bytes
        The whole file.
    orientation : int
        EXIF orientation 1-8.
    """
    hasher = blake3(bytes([orientation]))
    for start, stop in _pixel_ranges(data):
        hasher.update(memoryview(data)[start:stop])
    return hasher.digest()


def _pixel_ranges(data: bytes) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    if data[:3] == b"\xff\xd8\xff":
        ranges = _jpeg_ranges(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        ranges = _png_ranges(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        ranges = _webp_ranges(data)
    return ranges or [(0, len(data))]


def _jpeg_ranges(data: bytes) -> list[tuple[int, int]]:
    """Tables and frame header, Adobe and ICC segments, then the first image up to its EOI."""
    ranges: list[tuple[int, int]] = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            # Entropy-coded data escapes every 0xFF, so the next EOI ends this image; what an MPO or
            # a motion photo appends behind it is not what is shown.
            end = data.find(b"\xff\xd9", stop)
            return [*ranges, (at, end if end >= 0 else len(data))]
        is_profile = marker == 0xE2 and data[at + 4 : at + 16] == b"ICC_PROFILE\0"
        if marker == 0xEE or is_profile or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            ranges.append((at, stop))
        at = stop
    return []


_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"fdAT"}


def _png_ranges(data: bytes) -> list[tuple[int, int]]:
    ranges = []
    at = 8
    while at + 8 <= len(data):
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] in _PNG_PIXELS:
            ranges.append((at + 4, min(stop, len(data))))
        at = stop
    return ranges


def _webp_ranges(data: bytes) -> list[tuple[int, int]]:
    ranges = []
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        stop = at + 8 + size
        if data[at : at + 4] in {b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"ANMF"}:
            ranges.append((at, min(stop, len(data))))
        at = stop + (size & 1)
    return ranges
