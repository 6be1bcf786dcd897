"""One page to mail around: groups with small pictures in it, that needs nothing else."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from annidx.errors import PictureUnreadable
from annidx.found import Groups
from annidx.images.decode import Limits
from annidx.index import Index
from annidx.native import processors
from annidx.service.decoding import Decoders
from annidx.service.page.board import KINDS, Found, of_groups
from annidx.service.page.shared import STATIC, templates

SIDE = 160
"""Of small pictures: some 6 kB each."""
DECODE_S = 20.0


def html(
    index: Index,
    groups: Groups,
    *,
    most: int,
    made: datetime,
    on_picture: Callable[[], None] = lambda: None,
) -> tuple[str, int]:
    """Return a page of groups, those that free most first, and how many pictures it shows.

    Parameters
    ----------
    index : Index
    groups : Groups
    most : int
        At most so many groups.
    made : datetime
        What the page says of when it was made.
    on_picture : callable
        Called after each picture.
    """
    every = sorted(of_groups(index, groups.groups), key=lambda each: (-each.freed, each.key))
    shown = every[:most]
    small = _small(index, shown, on_picture)
    pictures = {number: picture for number, (picture, _) in small.items()}
    qualities = {number: quality for number, (_, quality) in small.items()}
    roots = [root.path for root in index.manifest.roots]
    text = (
        templates()
        .get_template("report.html")
        .render(
            css=STATIC["page.css"][1].decode(),
            index=index,
            answer=groups.answer,
            groups=shown,
            small=pictures,
            qualities=qualities,
            kinds=KINDS,
            roots=roots,
            base=os.path.commonpath(roots) if roots else b"",
            freed=sum(each.freed for each in every),
            count=len(every),
            made=made.isoformat(" ", "minutes")[:16],
        )
    )
    return text, len(small)


def _small(
    index: Index, groups: list[Found], on_picture: Callable[[], None]
) -> dict[int, tuple[str | None, int]]:
    """Return each picture as a data: address, and what JPEGs were saved at (else 0), by number.

    None is the address of one that cannot be shown.
    """
    numbers = [each.image_id for group in groups for each in group.members]
    workers = processors()
    decoders = Decoders(workers, Limits(memory=700_000_000), DECODE_S)

    def one(number: int) -> tuple[str | None, int]:
        file = index.picture(number).file
        try:
            data = decoders.thumbnail(file, SIDE)
            quality = decoders.details(file).quality
        except PictureUnreadable:
            return None, 0
        finally:
            on_picture()
        return "data:image/jpeg;base64," + base64.b64encode(data).decode(), quality

    decoders.start()
    try:
        with ThreadPoolExecutor(workers) as pool:
            return dict(zip(numbers, pool.map(one, numbers), strict=True))
    finally:
        decoders.close()
