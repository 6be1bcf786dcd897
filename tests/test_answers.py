"""annidx.answers: what a query is asked with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from annidx import answers
from annidx.images.extract import bytes_record
from annidx.search.vectors import is_flat
from tests.commands.running import PICTURES


@pytest.mark.parametrize("others", [0, 64, 127, 128, 191, 255])
@pytest.mark.parametrize("apart", [0, 60, 127, 128, 255])
def test_a_query_is_flat_as_its_thumb_is(others: int, apart: int) -> None:
    """Two values apart and all others equal: no thumb that spans as much deviates less."""
    low = (255 - apart) // 2
    thumb = np.full((400, 3), min(max(others, low), low + apart), np.uint8)
    thumb[0, 0], thumb[399, 0] = low, low + apart
    record = bytes_record((PICTURES / "2020-home" / "coffee.jpg").read_bytes(), ("thumb",))
    record = replace(record, descriptors={"thumb": thumb.tobytes()})
    assert answers.asked("a", record).is_flat == is_flat(thumb.reshape(1, -1))[0]
