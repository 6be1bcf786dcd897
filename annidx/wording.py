"""The differences of two pictures one by one, for programs, and in one line for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from annidx import layouts
from annidx.kinds import Change, Facts, Kind, Seen
from annidx.layouts import Layout

LEAST_MARGIN = 0.006
"""Of a side: less is not told from nothing on grays of 64 x 64."""
QUIET = 0.6
"""A frame is of one gray on so much of it; the rest of a picture is not."""
LEAST_ANGLE = 0.4
SIDES = ("top", "bottom", "left", "right")


def changes(kind: Kind, one: Facts, other: Facts, seen: Seen | None) -> Iterator[Change]:
    """Yield what the second of two pictures is to the first, the most telling first."""
    if kind == "identical":
        yield {"what": "identical bytes"}
        return
    if kind == "same-pixels":
        yield {"what": "same pixels", "sizes": [one.size, other.size]}
        return
    if kind == "same-scene":
        yield from _exposures(one, other)
    if seen is not None:
        layout = layouts.layout(seen.map, one.upright, other.upright)
        yield from _placed(seen, layout, one, other, kind)
        yield from _toned(seen)
        yield from _tinted(seen)
        yield from _overlaid(seen, kind)
        yield from _resized(layout, one, other)
    yield from _packed(one, other)


def _exposures(one: Facts, other: Facts) -> Iterator[Change]:
    seconds = seconds_between(one, other)
    if seconds:
        yield {"what": "taken later" if seconds > 0 else "taken earlier", "seconds": abs(seconds)}
    if one.exposure and other.exposure and one.exposure != other.exposure:
        yield {"what": "other exposure", "from": one.exposure, "to": other.exposure}


def seconds_between(one: Facts, other: Facts) -> float | None:
    """Return by how many seconds the second was taken later, None when that is not known."""
    try:
        first, second = (datetime.fromisoformat(each.taken) for each in (one, other))
    except ValueError:
        return None
    parts = [
        float(f"0.{each.subsecond}") if each.subsecond.isdecimal() else 0.0 for each in (one, other)
    ]
    return round((second - first).total_seconds() + parts[1] - parts[0], 3)


def _placed(seen: Seen, layout: Layout, one: Facts, other: Facts, kind: Kind) -> Iterator[Change]:
    if layout.mirrored:
        over = layout.quarter == 180
        yield {"what": "mirrored", "axis": "top to bottom" if over else "left to right"}
    if layout.quarter and not (layout.mirrored and layout.quarter == 180):
        yield {"what": "rotated", "degrees": layout.quarter}
    if abs(layout.angle) >= LEAST_ANGLE:
        yield {"what": "turned", "degrees": round(layout.angle, 1)}
    more = [side for side in layout.margins if side > LEAST_MARGIN]
    less = [side for side in layout.margins if side < -LEAST_MARGIN]
    if more and less and kind == "same-scene":
        top, _, left, _ = layout.margins
        yield {"what": "shifted", "down": round(-top, 3), "right": round(-left, 3)}
        return
    if less:
        inside = layouts.inverse(seen.map)
        frame = seen.rings[0] >= QUIET
        what = "frame removed" if frame else "cropped"
        yield _boxed(what, "second", layouts.box(inside, (0, 1, 0, 1)), one.upright)
    if more and seen.rings[1] >= QUIET:
        widths = {
            side: round(max(0.0, margin), 3)
            for side, margin in zip(SIDES, layout.margins, strict=True)
        }
        yield {"what": "framed", "widths": widths}
    elif more:
        yield _boxed("cropped", "first", layouts.box(seen.map, (0, 1, 0, 1)), other.upright)


def _boxed(what: str, which: str, edges: Sequence[float], size: tuple[int, int]) -> Change:
    """Return a change with a box: x0, y0, x1, y1 as shares, and in pixels of the larger one."""
    y0, y1, x0, x1 = edges
    width, height = size
    shares = [round(each, 3) for each in (x0, y0, x1, y1)]
    found: Change = {"what": what, "which": which, "box": shares}
    if width and height:
        sides = (width, height, width, height)
        found["pixels"] = [round(a * b) for a, b in zip((x0, y0, x1, y1), sides, strict=True)]
    return found


def _toned(seen: Seen) -> Iterator[Change]:
    if abs(seen.brightness - 1) >= 0.03:
        what = "brighter" if seen.brightness > 1 else "darker"
        yield {"what": what, "percent": round(100 * abs(seen.brightness - 1))}
    if abs(seen.contrast - 1) >= 0.07:
        what = "more contrast" if seen.contrast > 1 else "less contrast"
        yield {"what": what, "percent": round(100 * abs(seen.contrast - 1))}
    if seen.light > 0.4:
        yield {"what": "vignette", "percent": round(100 * seen.light)}
    if seen.detail < 0.6:
        yield {"what": "blurred", "detail": round(seen.detail, 2)}
    elif seen.detail > 1.5:
        yield {"what": "sharpened or noisier", "detail": round(seen.detail, 2)}


def _tinted(seen: Seen) -> Iterator[Change]:
    before, after = seen.chroma
    blue, red = seen.tint
    if before > 4 and after < 1.5:
        yield {"what": "grayscale"}
        return
    if seen.saturation < 0.3 and before > 4 and red > 2 and blue < -2:
        yield {"what": "sepia"}
        return
    if before < 1.5 and after > 4:
        yield {"what": "tinted" if seen.saturation < 0.3 else "coloured", **_levels(seen)}
        return
    strength = seen.saturation / max(abs(seen.brightness * seen.contrast), 0.05)
    if min(before, after) > 3 and not 0.8 <= strength <= 1.25:
        what = "more saturated" if strength > 1 else "less saturated"
        yield {"what": what, "percent": round(100 * abs(strength - 1))}
    if min(before, after) > 6 and seen.saturation > 0.3 and abs(seen.hue) > 8:
        yield {"what": "other hue", "degrees": round(seen.hue)}
    elif max(abs(blue), abs(red)) > 4:
        warm = red > 1 and blue < -1
        cool = red < -1 and blue > 1
        yield {"what": "warmer" if warm else "cooler" if cool else "tinted", **_levels(seen)}


def _levels(seen: Seen) -> Change:
    return {"blue": round(seen.tint[0], 1), "red": round(seen.tint[1], 1)}


def _overlaid(seen: Seen, kind: Kind) -> Iterator[Change]:
    y0, y1, x0, x1 = seen.box
    if seen.odd < 0.01 or y1 <= y0:
        return
    box = [round(each, 2) for each in (x0, y0, x1, y1)]
    what = "overlaid" if kind == "edited" else "differs"
    yield {"what": what, "box": box, "percent": round(100 * seen.odd, 1)}


def _resized(layout: Layout, one: Facts, other: Facts) -> Iterator[Change]:
    if min(*one.upright, *other.upright) <= 0:
        return
    if abs(layout.stretch - 1) > 0.03:
        yield {"what": "stretched", "across by down": round(layout.stretch, 2)}
    if abs(layout.scale - 1) > 0.025:
        yield {
            "what": "resized",
            "factor": round(layout.scale, 3),
            "from": list(one.upright),
            "to": list(other.upright),
        }


def _packed(one: Facts, other: Facts) -> Iterator[Change]:
    if not one.format or not other.format:
        return
    if one.format != other.format:
        yield {"what": "other format", "from": one.format, "to": other.format}
    else:
        yield {"what": "recompressed", "from": one.size, "to": other.size}


def words(found: Sequence[Change]) -> str:
    """Return changes in one line; nothing found is nothing that can be seen."""
    said = [_word(each) for each in found]
    telling = [text for each, text in zip(found, said, strict=True) if each["what"] != _LEAST]
    return ", ".join(telling or said) or "no difference that can be seen"


_LEAST = "recompressed"
"""Said only where there is nothing else to say."""


def _word(change: Change) -> str:
    what = change["what"]
    if "widths" in change:
        sides = [
            f"{_percent(v)} % {side}" for side, v in change["widths"].items() if v >= LEAST_MARGIN
        ]
        return f"framed by {', '.join(sides)}"
    if what in ("cropped", "frame removed"):
        where = "{}-{} % x {}-{} %".format(*(_percent(change["box"][k]) for k in _ORDER))
        if what == "frame removed":
            return f"frame removed, {where} left"
        return (
            f"cropped to {where}" if change["which"] == "second" else f"shows more: {where} of it"
        )
    return _simple(what, change)


def _simple(what: str, change: Change) -> str:
    if "percent" in change and "box" not in change:
        return f"{what} by {change['percent']} %"
    said = _SAID.get(what, "{what}")
    if "degrees" in change:
        said = "{what} by {degrees} degrees"
    elif "seconds" in change:
        said = "{what} by {seconds:g} s"
    shares = ("down", "right", "factor")
    amounts = {key: _percent(v) if key in shares else v for key, v in change.items()}
    if "box" in change:
        amounts["box"] = "{}-{} % x {}-{} %".format(*(_percent(change["box"][k]) for k in _ORDER))
    return said.format(**amounts)


_ORDER = (0, 2, 1, 3)
_SAID = {
    "overlaid": "overlaid at {box}",
    "differs": "differs at {box}",
    "mirrored": "mirrored {axis}",
    "shifted": "shifted by {right} % x {down} %",
    "stretched": "stretched to {across by down} as wide",
    "resized": "resized to {factor} %",
    "other format": "{from} to {to}",
    "other exposure": "exposure {from} to {to}",
}


def _percent(share: Any) -> int:
    return round(100 * float(share))
