"""Pictures of writing, made and not shipped: pages, letters, chats, slides, and rescans of them.

What looks alike from afar and is not the same: every picture but a rescan is a family of its own.
Deterministic: a picture depends on its kind and number only.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from tests.making import rounded

_TEXT = """
a about after again all also an and are as at back because been before between both but by came
can city come could country day did do does down each early end even every family far few find
first for found friend from garden gave get give go good great had half hand harbour has have he
her here high him his house how I if in into it its just keep kind know large last later left
letter life light little long looked made make man many may me men might mile money month more
morning most mountain much must my name near never new next night no not now number of off often
old on once one only or other our out over own page paper part people picture place point
railway read remember right river said same saw say school sea second see seemed several shall
she should side since small so some something soon still street such summer table take teacher
tell than that the their them then there these they thing think this those though thought
thousand three through time to together told too took town train tree two under until up upon us
very village voice walk wall was water way we weather week well went were what when where which
while white who why wife will winter with without woman word work world would write year
yesterday you young your
"""
WORDS = np.array(_TEXT.split())

PAPERS = [(250, 248, 244), (249, 246, 240), (252, 250, 247), (245, 241, 232)]
"""Three sorts of like paper, and an older one."""


@dataclass(frozen=True, slots=True)
class Made:
    """One picture, and the family of pictures of the same thing that it belongs to."""

    name: str
    family: str
    image: Image.Image


def generator(kind: str, number: int) -> np.random.Generator:
    """Return the randomness of one picture."""
    return np.random.default_rng([number, *kind.encode()])


def typed_page(number: int) -> Image.Image:
    """Return a page of typed text: heading, paragraphs, a page number; every fifth is short."""
    rng = generator("page", number)
    page = paper(rng, PAPERS[number % len(PAPERS)])
    _typed(page, rng, heading=number % 6 == 1, lines=22 if number % 5 == 0 else 40)
    return scanned(page, rng)


def letter(number: int) -> Image.Image:
    """Return one side of a letter by hand, on lined paper; odd numbers are versos.

    Through a verso shines its recto, mirrored.
    """
    rng = generator("letter", number)
    leaf = generator("leaf", number // 2)
    page = paper(leaf, PAPERS[1 + (number // 2) % 3])
    _written(page, rng, lines=int(rng.integers(16, 26)))
    if number % 2:
        recto = paper(leaf, (255, 255, 255))
        _written(recto, generator("letter", number - 1), lines=22)
        page = Image.blend(page, ImageOps.mirror(recto), 0.06)
    return scanned(page, rng)


def chat(number: int) -> Image.Image:
    """Return a screenshot of a conversation: the same furniture, other bubbles."""
    rng = generator("chat", number)
    shot = Image.new("RGB", (360, 720), (236, 229, 221))
    draw = ImageDraw.Draw(shot)
    draw.rectangle((0, 0, 360, 56), fill=(18, 140, 126))
    draw.ellipse((12, 12, 44, 44), fill=(210, 210, 210))
    draw.text((56, 18), sentence(rng, 2), fill="white", font=font(16))
    draw.rectangle((0, 676, 360, 720), fill=(246, 246, 246))
    top = 70
    while top < 640:
        lines = [sentence(rng, int(rng.integers(2, 6))) for _ in range(int(rng.integers(1, 4)))]
        height = 16 + 18 * len(lines)
        if top + height > 668:
            break
        mine = bool(rng.integers(2))
        left = 90 if mine else 12
        fill = (220, 248, 198) if mine else (255, 255, 255)
        draw.rounded_rectangle((left, top, left + 255, top + height), 8, fill=fill)
        draw.multiline_text(
            (left + 10, top + 7), "\n".join(lines), fill="black", font=font(13), spacing=5
        )
        top += height + int(rng.integers(6, 12))
    return shot


def slide(number: int) -> Image.Image:
    """Return a slide of one template: title, bullets, a logo and a number."""
    rng = generator("slide", number)
    shown = Image.new("RGB", (640, 360), (255, 255, 255))
    draw = ImageDraw.Draw(shown)
    draw.rectangle((0, 0, 640, 64), fill=(0, 72, 153))
    draw.text((24, 16), sentence(rng, 4), fill="white", font=font(28))
    top = 96
    for _ in range(int(rng.integers(3, 6))):
        draw.ellipse((32, top + 7, 40, top + 15), fill=(0, 72, 153))
        draw.text((54, top), sentence(rng, int(rng.integers(4, 9))), fill="black", font=font(20))
        top += 42
    draw.rectangle((560, 322, 620, 346), fill=(230, 120, 20))
    draw.text((24, 330), f"{number}", fill=(120, 120, 120), font=font(14))
    return shown


def sent_on(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a screenshot or slide as it comes back: smaller, and recompressed."""
    share = rng.uniform(0.5, 0.9)
    small = image.resize((round(image.width * share), round(image.height * share)))
    packed = io.BytesIO()
    small.save(packed, "JPEG", quality=int(rng.integers(40, 85)))
    return Image.open(packed)


def rescan(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a page as it was scanned once more: up to a degree askew, lighter or darker, grain."""
    edge = image.getpixel((2, 2))
    askew = image.rotate(rng.uniform(-1, 1), Image.Resampling.BICUBIC, fillcolor=edge)
    return scanned(askew.point(_tone(rng.uniform(0.97, 1.0))), rng)


Again = Callable[[Image.Image, np.random.Generator], Image.Image]
KINDS: dict[str, tuple[Callable[[int], Image.Image], Again]] = {
    "page": (typed_page, rescan),
    "letter": (letter, rescan),
    "chat": (chat, sent_on),
    "slide": (slide, sent_on),
}
"""How each kind is made, and how it is made once more."""


def set_of_writing(
    first: int, count: int, kinds: Iterable[str] = KINDS, *, again_every: int = 4
) -> Iterator[Made]:
    """Yield `count` pages, sides of letters, chats and slides each, and rescans of some of them.

    Parameters
    ----------
    first : int
        Number of the first; sets that do not overlap share nothing but their kinds.
    count : int
        Of each kind.
    kinds : iterable of str
        Keys of :data:`KINDS`.
    again_every : int
        Every so-many-th picture is there once more, and every second of these once more again.
    """
    for kind in kinds:
        make, again = KINDS[kind]
        for number in range(first, first + count):
            image = make(number)
            family = f"{kind}-{number}"
            yield Made(family, family, image)
            if number % again_every == 0:
                yield Made(f"{family}-again", family, again(image, generator(family, 1)))
            if number % (2 * again_every) == 0:
                yield Made(f"{family}-more", family, again(image, generator(family, 2)))


def scanned(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a picture with the grain of a scanner."""
    grain = rng.integers(-5, 6, (*image.size[::-1], 1), np.int16)
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def paper(rng: np.random.Generator, tone: tuple[int, int, int]) -> Image.Image:
    """Return an empty sheet: its tone, a little of its own, and a shadow to one side."""
    row = np.array(tone) + rng.normal(0, 1.5) - np.linspace(0, rng.uniform(0, 6), 396)[:, None]
    return Image.fromarray(np.tile(rounded(row), (560, 1, 1)))


def blanks(first: int, count: int) -> Iterator[Made]:
    """Yield pictures with next to no information, each a family of its own.

    Scanned empty pages, sheets of grain, one colour, and faint gradients.
    """
    for number in range(first, first + count):
        rng = generator("blank", number)
        tone = tuple(int(each) for each in rng.integers(0, 256, 3))
        flat = Image.new("RGB", (160, 120), tone)
        x = np.linspace(-1, 1, 160)[:, None] * rng.uniform(1, 4)
        pictures = {
            "empty-page": scanned(paper(rng, PAPERS[number % len(PAPERS)]), rng),
            "grain": Image.fromarray(rounded(np.asarray(flat) + rng.normal(0, 12, (120, 160, 3)))),
            "colour": flat,
            "gradient": Image.fromarray(rounded(np.asarray(flat) + x)),
        }
        for kind, image in pictures.items():
            yield Made(f"{kind}-{number}", f"{kind}-{number}", image)


def sentence(rng: np.random.Generator, count: int) -> str:
    """Return some words."""
    return " ".join(rng.choice(WORDS, count))


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font."""
    return ImageFont.load_default(size)


def _typed(page: Image.Image, rng: np.random.Generator, *, heading: bool, lines: int) -> None:
    draw = ImageDraw.Draw(page)
    top = 44
    if heading:
        draw.text((44, top), sentence(rng, 4).capitalize(), fill=(30, 30, 30), font=font(17))
        top += 34
    for at in range(lines):
        last = at % int(rng.integers(5, 9)) == 0  # of a paragraph
        text = sentence(rng, int(rng.integers(2, 7)) if last else 13)
        while draw.textlength(text, font(10)) > 308:
            text = text.rpartition(" ")[0]
        if top < 510:
            draw.text((44, top), text, fill=(40, 40, 40), font=font(10))
        top += 20 if last else 13
    draw.text((192, 528), f"{rng.integers(1, 300)}", fill=(40, 40, 40), font=font(10))


def _written(page: Image.Image, rng: np.random.Generator, *, lines: int) -> None:
    """Write lines of loops, word by word."""
    draw = ImageDraw.Draw(page)
    for at in range(lines):
        base = 60 + 19 * at
        draw.line((30, base + 5, 366, base + 5), fill=(214, 222, 234))
        x = 36.0
        while x < 330 - 120 * (at == lines - 1):
            width = rng.uniform(12, 44)
            steps = np.arange(0, width, 1.3)
            loops = np.sin(steps * rng.uniform(0.8, 1.2)) * 3.2 + rng.normal(0, 0.9, len(steps))
            stroke = [(x + dx, base + dy) for dx, dy in zip(steps, loops, strict=True)]
            draw.line(stroke, fill=(32, 40, 96), width=1)
            x += width + rng.uniform(5, 9)


def _tone(gain: float) -> list[int]:
    return [min(255, round(level * gain)) for level in range(256)] * 3
