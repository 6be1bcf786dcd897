"""annidx.images.compute: what the registry names is computed, once, and nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from annidx.descriptors import DESCRIPTORS, GRAY8
from annidx.images import compute, decode
from annidx.images.gray import luma
from tests.images.pictures import noise

Pixels = npt.NDArray[np.uint8]


class Counted:
    """A picture that counts how often it is read out."""

    def __init__(self) -> None:
        self.picture = decode.from_array(noise(60, 80))
        self.reads: Counter[object] = Counter()

    def rgb(self, width: int, height: int) -> Pixels:
        self.reads[width, height] += 1
        return self.picture.rgb(width, height)

    def gray(self) -> Pixels:
        self.reads["gray"] += 1
        return self.picture.gray()


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_each_has_the_bytes_that_the_registry_says(name: str) -> None:
    found = compute.describe(Counted(), [name])
    assert set(found) == {name}
    assert isinstance(found[name], bytes)
    assert len(found[name]) == DESCRIPTORS[name].width


def test_all_together_are_what_each_is_alone() -> None:
    together = compute.describe(Counted(), DESCRIPTORS)
    assert list(together) == list(DESCRIPTORS)
    for name, stored in together.items():
        assert compute.describe(Counted(), [name])[name] == stored


def test_a_picture_is_read_once_for_all() -> None:
    picture = Counted()
    compute.describe(picture, DESCRIPTORS)
    assert picture.reads == {"gray": 1, (20, 20): 1, (16, 16): 1, (8, 8): 1}


def test_what_was_read_once_is_not_read_again() -> None:
    """Whichever descriptors share it."""
    picture = Counted()
    once = compute.ReadOnce(picture)
    for _ in range(3):
        assert np.array_equal(once.rgb(9, 4), picture.picture.rgb(9, 4))
        assert np.array_equal(once.gray(), picture.picture.gray())
    assert picture.reads == {"gray": 1, (9, 4): 1}


@pytest.mark.parametrize(
    ("names", "reads"),
    [
        ([], {}),
        (["thumb"], {(20, 20): 1}),
        (["signature"], {"gray": 1}),
        (["thumb", "gray20"], {(20, 20): 1}),
        (["gray8"], {(8, 8): 1}),
    ],
)
def test_nothing_else_is_computed(names: list[str], reads: dict[object, int]) -> None:
    picture = Counted()
    assert list(compute.describe(picture, names)) == names
    assert picture.reads == reads


def test_a_new_descriptor_is_an_entry_and_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DESCRIPTORS, "mine", replace(GRAY8, name="mine", compute="gray:mine"))
    monkeypatch.setattr(
        "annidx.images.gray.mine", lambda picture: luma(picture.rgb(3, 1)).tobytes(), raising=False
    )
    picture = Counted()
    found = compute.describe(picture, ["mine"])
    compute.function.cache_clear()
    assert found == {"mine": luma(picture.picture.rgb(3, 1)).tobytes()}


def test_what_is_not_registered_is_not_computed() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        compute.describe(Counted(), ["nonsense"])
