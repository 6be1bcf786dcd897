"""annidx.images.content.is_video: videos by content or name, and pictures in like containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from annidx.images.content import HEAD_BYTES, SUFFIXES, VIDEO_SUFFIXES, is_video, may_be_picture
from tests.images.pictures import SHIPPED


def ftyp(major: str, *compatible: str) -> bytes:
    """Return the first bytes of an ISO container of some brands."""
    size = 16 + 4 * len(compatible)
    brands = "".join([major, "\0\0\2\0", *compatible]).encode()
    return (size.to_bytes(4, "big") + b"ftyp" + brands + b"\0\0\0\x08free")[:HEAD_BYTES]


@pytest.mark.parametrize(
    "head",
    [
        ftyp("qt  ", "qt  "),
        ftyp("isom", "isom", "iso2", "avc1", "mp41"),
        ftyp("iso5"),
        ftyp("mp41"),
        ftyp("mp42", "isom", "mp42"),
        ftyp("M4V ", "M4V "),
        ftyp("avc1"),
        ftyp("3gp4"),
        ftyp("3g2a"),
        ftyp("XAVC"),
        ftyp("MSNV"),
        b"\0\0\0\x20moov\0\0\0\x6cmvhd",
        b"\0\0\0\x08wide\0\x01\0\0mdat",
        b"\x12\x34\x56\x78mdat",
        b"RIFF\x0a\n\0\0AVI LIST",
        b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x23B\x86",
        b"\0\0\x01\xba\x44\0\x04",
        b"\0\0\x01\xb3\x14\0\xf0",
        b"G@\0\x10\0\0\xb0\x0d",
        b"G@\x11\x10\0\x42\xf0",
        b"\0\x01\x02\x03G@\0\x10\0",
        b"FLV\x01\x05\0\0\0\x09",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9",
        b"OggS\0\x02" + bytes(22) + b"\x80theora"[:4],
    ],
)
def test_a_video_is_known_by_its_content(head: bytes) -> None:
    assert is_video(b"x", head)
    assert is_video(b"x.txt", head)
    assert is_video(b"x.jpg", head)  # right by content, not by name


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_a_video_is_known_by_its_name(suffix: bytes) -> None:
    assert is_video(b"folder.jpg/x" + suffix, b"\x02\x03 of no known kind")
    assert is_video(b"x" + suffix.upper(), b"")
    assert not is_video(suffix[1:], b"\x02\x03")
    assert suffix not in SUFFIXES


@pytest.mark.parametrize(
    "head",
    [
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"GIF89a\x01\0\x01\0",
        b"RIFF\x0a\n\0\0WEBPVP8 ",
        b"II*\0\x08\0\0\0",
        b"BM\x36\0\0\0",
        ftyp("heic", "mif1", "heic"),
        ftyp("hevc", "msf1", "hevc"),  # a sequence
        ftyp("msf1", "hevc"),
        ftyp("avis", "msf1", "iso8"),
        ftyp("avif", "mif1", "miaf"),
        ftyp("iso8", "msf1", "iso8"),  # a picture among the compatible brands
        ftyp("mp42", "mif1", "heic"),
        ftyp("crx ", "crx ", "isom"),  # CR3
        b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ",
    ],
)
@pytest.mark.parametrize("name", [b"x", b"x.heic", b"x.mov", b"x.mp4"])
def test_a_picture_is_no_video(head: bytes, name: bytes) -> None:
    assert not is_video(name, head)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        (b"x", b""),
        (b"x.jpg", b""),
        (b"x.txt", b"Go @home, free of charge"),
        (b"x.ts", b"import { A } from 'b';"),
        (b"x.m4a", ftyp("isom", "mp42")),
        (b"x.m4a", ftyp("M4A ", "M4A ")),
        (b"x.wma", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9"),
        (b"x.ogg", b"OggS\0\x02" + bytes(22) + b"\x01vorbis"[:4]),
        (b"x.wav", b"RIFF\x0a\n\0\0WAVEfmt "),
        (b"x.jxl", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl "),
        (b"movie", b"mov"),
    ],
)
def test_other_files_are_no_videos(name: bytes, head: bytes) -> None:
    assert not is_video(name, head)


def test_no_shipped_picture_is_a_video() -> None:
    paths = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert len(paths) > 20
    for path in paths:
        assert not is_video(bytes(path), path.read_bytes()[:HEAD_BYTES]), path


def test_no_torture_picture_is_a_video(shared: Path) -> None:
    paths = [path for path in (shared / "data" / "torture").rglob("*") if path.is_file()]
    assert len(paths) > 100
    pictures = 0
    for path in paths:
        head = path.read_bytes()[:HEAD_BYTES]
        pictures += may_be_picture(bytes(path), head)
        assert not is_video(bytes(path), head), path
    assert pictures > 100
