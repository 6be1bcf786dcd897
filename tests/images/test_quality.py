"""annidx.images.quality: what JPEGs were saved at, from their quantisation tables."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from annidx.images import decode, quality
from tests.making import photo


def saved(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, form, **options)
    return written.getvalue()


def found(data: bytes) -> int:
    return decode.look(data).details().quality


@pytest.mark.parametrize("colours", ["RGB", "L"])
def test_every_quality_of_the_usual_encoder_is_told(colours: str) -> None:
    picture = photo(0, (32, 24)).convert(colours)
    told = {asked: found(saved(picture, quality=asked)) for asked in range(1, 101)}
    # At the lowest ones every value of a table is 255, and there is nothing to tell.
    assert {asked: is_ for asked, is_ in told.items() if asked != is_ and asked > 1} == {}


def test_tables_of_others_are_near() -> None:
    picture = photo(1, (32, 24))
    coarse, fine = (found(saved(picture, quality=preset)) for preset in ("web_low", "web_maximum"))
    assert 0 < coarse < 75 < fine <= 100


def test_other_formats_have_none() -> None:
    picture = photo(2, (32, 24))
    assert [found(saved(picture, form)) for form in ("PNG", "WEBP", "GIF")] == [0, 0, 0]
    assert quality.estimate({}) == 0
    assert quality.estimate({0: [1, 2]}) == 0
