"""Bytes in, recognition and hashes out: what a file is, without decoding it.

Knows containers (JPEG segments, PNG chunks, RIFF) but no pixels and no Pillow.
"""

from __future__ import annotations

import os
import re
from typing import BinaryIO

from blake3 import blake3

from annidx.images import tiff

SUFFIXES = frozenset(
    b".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .webp .avif .avifs .heic .heif .hif .tif .tiff "
    b".bmp .pbm .pgm .ppm .pnm .ico .jp2 .j2k .jpf .jpx .j2c".split()
)
"""A file with such a name claims to be a picture, whatever it holds."""

RAW_SUFFIXES = frozenset(
    b".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .kdc .mef .mos .mrw .nef .nrw .orf "
    b".pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
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
_TIFF = re.compile(rb"II[*+]\0|MM\0[*+]")  # and BigTIFF, whose directories are not looked at
_RAW = re.compile(
    rb"II\*\0....CR|IIU\0|IIR[OS]|MMOR|FUJIFILMCCD-RAW|....ftypcrx |\0MRM|FOVb"
    rb"|II\x1a\0\0\0HEAPCCDR|(?:II\*\0....)?IIII.waR|(?:MM\0\*....)?MMMMRaw",  # Canon, Phase One
    re.DOTALL,
)
# A mosaic of colours or linear data, and the compressions that only cameras write.
_RAW_PHOTOMETRIC = frozenset({32803, 34892})
_RAW_COMPRESSION = frozenset({262, 32767, 32769, 32770, 32772, 32867, 34713, 65000, 65535})

_VIDEO = re.compile(
    rb"....ftyp(?:qt  |iso[a-z0-9]|mp[47].|avc1|M4V.|F4V |f4v |3g[2egprs].|mqt |mmp4|XAVC|MSNV|dash"
    rb"|piff|dvr1|NDS[CHMPS]|NDX[CHMPS]|SDV |kddi|pana|hvc1|FFV1|CAEP|niko|nvr1|amc1)"
    rb"|\0...(?:moov|wide|free|skip|pnot)|....mdat"  # QuickTime from before ftyp
    rb"|RIFF....(?:AVI |AVIX|CDXA)|\x1aE\xdf\xa3|FLV\x01|\.RMF|\x06\x0e\x2b\x34\x02\x05\x01\x01"
    rb"|\0\0\x01[\xba\xb3]|(?:....)?G@[\0\x11]"  # MPEG streams
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11|OggS.{24}(?:\x80the|\x01vid)",
    re.DOTALL,
)
_PICTURE_BRANDS = frozenset(
    b"heic heix hevc hevx heim heis hevm hevs mif1 mif2 msf1 avif avis avci avcs crx".split()
)

VIDEO_SUFFIXES = frozenset(
    b".mov .qt .mp4 .m4v .mqv .f4v .avi .divx .mkv .webm .mts .m2ts .m2t .m2v .tod .vob .3gp .3g2 "
    b".wmv .asf .mpg .mpeg .mpe .flv .ogv .ogm .rm .rmvb .dv .mxf .wtv .insv .360 .lrv".split()
)
"""A file with such a name is a video unless it begins like a picture."""
_SOUND_SUFFIXES = frozenset(b".m4a .m4b .m4p .m4r .aac .wma .mka .ra .alac".split())
"""The same containers without pictures."""

_BLOCK = 1 << 20

HEAD_BYTES = 32
"""So much of a file decides what it may be."""


def may_be_picture(path: bytes, head: bytes) -> bool:
    """Tell whether a file is worth reading whole: it begins like a picture or is named like one."""
    return claims_picture(path, head) or bool(_WEAK.match(head)) or is_raw(path, head)


def claims_picture(path: bytes, head: bytes) -> bool:
    """Tell whether a failure to decode is news: the first bytes or the name promise a picture."""
    return suffix(path) in SUFFIXES or bool(_STRONG.match(head))


def is_raw(path: bytes, data: bytes) -> bool:
    """Tell whether a file is camera RAW: by its first bytes, by what its TIFF directories say.

    A TIFF container with a name of RAW is RAW, too, whatever it says, since Pillow would open it as
    its preview; except ``.raw``, which scanners and exports write.

    Parameters
    ----------
    path : bytes
        Only its suffix counts.
    data : bytes
        The whole file. Of its first :data:`HEAD_BYTES` bytes alone, what only the directories of a
        TIFF could tell is no RAW.
    """
    if _RAW.match(data):
        return True
    if not _TIFF.match(data):
        return False
    return suffix(path) in RAW_SUFFIXES - {b".raw"} or any(map(_holds_raw, tiff.directories(data)))


def _holds_raw(directory: tiff.Directory) -> bool:
    return (
        not directory.entries.keys().isdisjoint({tiff.DNG_VERSION, tiff.LEAF_DATA})
        or directory.number(tiff.PHOTOMETRIC) in _RAW_PHOTOMETRIC
        or directory.number(tiff.COMPRESSION) in _RAW_COMPRESSION
    )


def is_video(path: bytes, head: bytes) -> bool:
    """Tell whether a file is a video, by its first bytes or, unless they are a picture's, its name.

    Sequences of pictures (HEIF's ``msf1`` and ``hevc``, AVIF's ``avis``) are pictures. To be asked
    before :func:`may_be_picture`, which also takes what is only named like a picture.

    Parameters
    ----------
    path : bytes
        Only its suffix counts.
    head : bytes
        The first :data:`HEAD_BYTES` bytes or more.
    """
    compatible = {head[at : at + 4].rstrip() for at in range(16, min(len(head), 64), 4)}
    is_heif = head[4:8] == b"ftyp" and bool(compatible & _PICTURE_BRANDS)
    if is_heif or _STRONG.match(head) or _RAW.match(head):
        return False
    if _VIDEO.match(head):
        return suffix(path) not in _SOUND_SUFFIXES
    return suffix(path) in VIDEO_SUFFIXES and not _WEAK.match(head)


def suffix(path: bytes) -> bytes:
    """Return the last suffix in lower case, with its dot; empty when there is none."""
    return os.path.splitext(path)[1].lower()


def content_hash(data: bytes) -> bytes:
    """Return the BLAKE3 hash of all bytes, 32 bytes."""
    return blake3(data).digest()


def streamed_hash(handle: BinaryIO) -> bytes:
    """Return the BLAKE3 hash of all bytes from here to the end of a file, 32 bytes."""
    hasher = blake3()
    while block := handle.read(_BLOCK):
        hasher.update(block)
    return hasher.digest()


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
    is_first_of_many = False
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            return [*ranges, (at, _jpeg_end(data, stop, is_first_of_many=is_first_of_many))]
        is_first_of_many |= marker == 0xE2 and data[at + 4 : at + 8] == b"MPF\0"
        is_profile = marker == 0xE2 and data[at + 4 : at + 16] == b"ICC_PROFILE\0"
        if marker == 0xEE or is_profile or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            ranges.append((at, stop))
        at = stop
    return []


def _jpeg_end(data: bytes, start: int, *, is_first_of_many: bool) -> int:
    """Return where the entropy-coded data that begins at `start` ends.

    It escapes every 0xFF, so the next EOI ends it; what an MPO or a motion photo appends is not
    shown. Where nothing says that something follows, an EOI at the very end is taken for the only
    one: looking for it would take longer than hashing.
    """
    if data.endswith(b"\xff\xd9") and not is_first_of_many:
        return len(data) - 2
    end = data.find(b"\xff\xd9", start)
    return end if end >= 0 else len(data)


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
