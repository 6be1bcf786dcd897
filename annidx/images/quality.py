"""How strongly a JPEG was compressed: an estimate from its quantisation tables.

The method is that of ImageMagick's ``identify -format %Q`` (coders/jpeg.c, JPEGSetImageQuality):
the tables are held against those that the Independent JPEG Group's encoder makes at each quality
(jcparam.c, after annex K of ITU-T T.81). Looks at tables, not at pixels: a picture that was saved
twice has the quality of the second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 32),
)


def estimate(tables: Mapping[int, Sequence[int]]) -> int:
    """Return the quality at which the IJG's encoder would compress as strongly, 1 to 100.

    Parameters
    ----------
    tables : Mapping of int to sequence of 64 int
        Quantisation tables by number, as Pillow's ``quantization`` has them; in any order, since
        only their sums are compared, which fall with every step of quality.

    Returns
    -------
    int
        The nearest; 0 when there is no table.
    """
    sums = [sum(tables[number]) for number in (0, 1) if len(tables.get(number, ())) == 64]
    if not sums:
        return 0
    known = _sums(len(sums))
    return min(range(100, 0, -1), key=lambda quality: abs(known[quality - 1] - sum(sums)))


@cache
def _sums(tables: int) -> list[int]:
    """Return what the IJG's tables sum up to, luma or luma and chroma, at quality 1 to 100."""
    base = (_LUMA, _CHROMA)[:tables]
    return [
        sum(_scaled(value, quality) for table in base for value in table)
        for quality in range(1, 101)
    ]


def _scaled(value: int, quality: int) -> int:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return min(255, max(1, (value * scale + 50) // 100))
