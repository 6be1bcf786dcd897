"""annidx.sanity: when a build refuses to publish."""

from __future__ import annotations

import pytest

from annidx.errors import UsageError
from annidx.sanity import Loss, allowed, objection


@pytest.mark.parametrize(
    ("max_removed", "pictures", "limit"),
    [
        (None, 0, 100),
        (None, 10_000, 100),
        (None, 10_100, 101),
        (0, 500, 0),
        ("0", 500, 0),
        ("30", 500, 30),
        ("2%", 500, 10),
        ("2.5 %", 1000, 25),
        ("100%", 77, 77),
        ("0%", 77, 0),
    ],
)
def test_allowed(max_removed: int | str | None, pictures: int, limit: int) -> None:
    assert allowed(max_removed, pictures) == limit


@pytest.mark.parametrize("max_removed", ["", "-1", -1, "5 pictures", "101%", "%", "1e3", "½"])
def test_what_is_no_limit(max_removed: int | str) -> None:
    with pytest.raises(UsageError, match="max_removed is"):
        allowed(max_removed, 100)


def test_objection() -> None:
    fine, gone, spoiled = (
        Loss(b"/fine", 500, 60, 40),
        Loss(b"/go\xffne", 500, 101, 0),
        Loss(b"/spoiled", 20_000, 1, 200),
    )
    assert objection([], None) == ""
    assert objection([fine], None) == ""
    text = objection([fine, gone, spoiled], None)
    assert "/go\udcffne: of 500 pictures 101 are gone and 0 cannot be read any more" in text
    assert "/spoiled: of 20,000 pictures 1 are gone and 200 cannot" in text
    assert "200 may (--max-removed)" in text
    assert "/fine" not in text
    assert objection([fine, gone, spoiled], "50%") == ""
    assert "/fine" in objection([fine], 99)
