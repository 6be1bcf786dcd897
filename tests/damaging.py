"""What can happen to a file of an index: each way, ready to be done."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534
"""The user who is not allowed to read what is denied."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One way to damage one file.

    Attributes
    ----------
    kind, file : str
        What is done, and to what, relative to the index; of several, with commas between.
    apply : callable
        Does it, given the index.
    warm : bool
        Ask once before: what was checked then must be checked again.
    """

    kind: str
    file: str
    apply: Callable[[Path], None]
    warm: bool = False

    def __str__(self) -> str:
        return f"{self.file} {self.kind}" + (" after a query" if self.warm else "")


def files_of(index: Path) -> list[str]:
    """Return all files of an index, relative to it."""
    return sorted(str(path.relative_to(index)) for path in index.rglob("*") if path.is_file())


def damages(template: Path, other: Path, flips: int, seed: int) -> Iterator[Damage]:
    """Yield all ways to damage each file of an index, so many flipped bits a file.

    Parameters
    ----------
    template, other : Path
        The index as it is, for its files and their sizes, and another one of the same kind.
    flips, seed : int
    """
    rng = random.Random(seed)
    for file in files_of(template):
        size = (template / file).stat().st_size
        for length in sorted({0, 1, size // 2, size - 8, size - 1} & set(range(size))):
            yield Damage(f"cut to {length} of {size} bytes", file, _rewrite(file, _cut(length)))
        yield Damage("made longer", file, _rewrite(file, lambda data: data + b"\x00more"))
        if size:
            yield Damage("zeroed", file, _rewrite(file, lambda data: bytes(len(data))))
        for bit in rng.sample(range(8 * size), min(flips, 8 * size)):
            yield Damage(f"bit {bit} flipped", file, _rewrite(file, _flip(bit)), rng.random() < 0.5)
        yield Damage("deleted", file, lambda index, file=file: (index / file).unlink())  # type: ignore[misc]
        for source in _alike(template, file):
            if source != file:
                yield Damage(f"swapped with {source}", file, _swap(file, source))
        for source in _alike(other, file)[:1]:
            yield Damage("of another index", file, _copy(other / source, file))
        for kind, make in (("a folder", Path.mkdir), ("a fifo", os.mkfifo)):
            yield Damage(kind, file, _replace(file, make))
        if os.geteuid() == 0:
            yield Damage("denied", file, _deny(file))


def _alike(index: Path, file: str) -> list[str]:
    """Return the files of an index that play the same role as `file`, by size."""
    folder, suffix = Path(file).parent, Path(file).suffix
    found = [path for path in (index / folder).iterdir() if path.suffix == suffix]
    if str(folder) in (".", "staging", "locks"):
        found = [path for path in found if path.name == Path(file).name]
    found.sort(key=lambda path: (path.stat().st_size, path.name), reverse=True)
    return [str(path.relative_to(index)) for path in found]


def _rewrite(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(index: Path) -> None:
        (index / file).write_bytes(change((index / file).read_bytes()))

    return apply


def _cut(length: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:length]


def _flip(bit: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    return change


def _swap(one: str, two: str) -> Callable[[Path], None]:
    def apply(index: Path) -> None:
        data = (index / one).read_bytes()
        (index / one).write_bytes((index / two).read_bytes())
        (index / two).write_bytes(data)

    return apply


def _copy(source: Path, file: str) -> Callable[[Path], None]:
    def apply(index: Path) -> None:
        (index / file).write_bytes(source.read_bytes())

    return apply


def _replace(file: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    def apply(index: Path) -> None:
        (index / file).unlink()
        make(index / file)

    return apply


def _deny(file: str) -> Callable[[Path], None]:
    def apply(index: Path) -> None:
        for path in (index, *index.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        (index / file).chmod(0)

    return apply


def sample(todo: Sequence[Damage], limit: int, seed: int, first: Container[str]) -> list[Damage]:
    """Return a sample of as many kinds of damage and of files as it can; some files first."""
    shuffled = random.Random(seed).sample(todo, len(todo))
    shuffled.sort(key=lambda each: each.file not in first)
    seen: Counter[tuple[str, str, str]] = Counter()
    ranked: list[tuple[int, int, Damage]] = []
    for damage in shuffled:
        path = Path(damage.file)
        group = (str(path.parent), path.suffix, damage.kind.split()[0])
        ranked.append((seen[group], len(ranked), damage))
        seen[group] += 1
    return [damage for _, _, damage in sorted(ranked, key=lambda each: each[:2])[:limit]]


def storms(index: Path, count: int, seed: int) -> Iterator[Damage]:
    """Yield so many damages to two to five random files at once: bytes replaced, or cut out."""
    files = files_of(index)
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        chosen = rng.sample(files, rng.randint(2, 5))
        yield Damage(f"in storm {number}", ", ".join(chosen), _storm(chosen, rng), number % 2 == 0)


def _storm(files: Sequence[str], rng: random.Random) -> Callable[[Path], None]:
    def apply(index: Path) -> None:
        for path in (index / file for file in files):
            data = bytearray(path.read_bytes())
            start, length = rng.randrange(len(data) + 1), rng.choice((1, 16, 512, 4096))
            data[start : start + length] = rng.randbytes(rng.choice((0, length)))
            path.write_bytes(data)

    return apply
