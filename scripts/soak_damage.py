"""Damage every file of an index in every way, and see what is made of it.

Each file of an index with three snapshots and a killed build (marker, manifests, segments, graphs,
their sidecars, journal, lock) is cut, lengthened, flipped bit by bit, zeroed, swapped with another
one, deleted, replaced by that of another index, by a folder, by a fifo, and made unreadable. Then
each verb must give the right answer of a published snapshot or an error that names the file and
says what to do; verify must name it; a build must repair it or say why it does not and what would.

    python -m scripts.soak_damage [--flips 100] [--limit N] [--only WORDS] [--seed 1] [--json]

Exit codes: 0 no violation, 1 a violation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import Album, Tally, Violation, must
from tests.forking import Done, Runner

NOBODY = 65534
TIMEOUT_S = 20.0
ERRORS = (1, 10, 12, 13)
TOO_NEW = 13
REMEDY = re.compile(r'"annidx \w|[Uu]pgrade|[Rr]emove|[Rr]estore|[Mm]ove it|permission')
HASHED = ("segments", "graphs")
BY_HAND = ("denied", "a folder", "a fifo")
"""Kinds that a message of the system explains, and that no build has to repair."""
UNNAMED = ("staging", "locks", "tmp")
"""What no snapshot consists of."""
QUESTIONS = (("query", "-k", "1000"), ("pairs",))

Answers = list[list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Damage:
    """One way to damage one file.

    Attributes
    ----------
    kind, file : str
        What is done, and to what, relative to the index.
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


class Subject:
    """An index with everything that may lie in one, another one, and the truth about both.

    Attributes
    ----------
    template : Path
        Never damaged itself.
    index : Path
        The copy that is.
    truth : dict of int to Answers
        What each of its snapshots answers.
    mended : Answers
        What it must answer after the next build.
    files : list of str
        All of them, relative to the index.
    in_use, named : set of str
        The segments and graphs of the newest snapshot, and of any.
    """

    def __init__(self, folder: Path, seed: int, run: Runner) -> None:
        self.folder, self.run, self.index = folder, run, folder / "index"
        self.template, self.other = folder / "template", folder / "other"
        self.truth: dict[int, Answers] = {}
        for place, number in ((self.other, seed + 1), (self.template, seed)):
            self.album = Album(folder / f"for {place.stem}" / "album", number)
            self._build(place, self.album)
        shutil.copytree(self.template, self.index)
        must(self._call("build", "--workers", "1"), 0)
        self.mended = self.ask()[1]
        must(self._call("verify"), 0)
        manifests = sorted((self.template / "snapshots").iterdir())
        newest, named = manifests[-1].read_text(), "".join(map(Path.read_text, manifests))
        self.files = sorted(
            str(path.relative_to(self.template))
            for path in self.template.rglob("*")
            if path.is_file()
        )
        self.in_use = {file for file in self.files if Path(file).stem in newest}
        self.named = {file for file in self.files if Path(file).stem in named}

    def _build(self, place: Path, album: Album) -> None:
        """Build three snapshots of different segments and graphs, and kill one build more."""
        words = ("build", album.folder, "--workers", "1", "--rebuild-graphs", "--index", place)
        for _ in range(3):
            must(self.run(*words), 0)
            if place == self.template:
                self.index = place
                number, answers = self.ask()
                self.truth[number] = answers
            album.change(1)
        (album.folder / "one more note.txt").write_text("so that both journals are there\n")
        killed = self.run(*words, strace=("-o", "/dev/null", "-e", "inject=link:signal=KILL"))
        assert killed.code == -9, killed
        self.index = self.folder / "index"

    def _call(self, *words: str | Path, user: int | None = None) -> Done:
        return self.run(*words, "--index", self.index, timeout_s=TIMEOUT_S, user=user)

    def ask(self) -> tuple[int, Answers]:
        """Return the number of the snapshot that answers, and its answers."""
        numbers, answers = set(), []
        for words in QUESTIONS:
            done = must(self.call(*words), 0)
            numbers.add(done.summary["snapshot"])
            answers.append(rows(done))
        (number,) = numbers
        return number, answers

    def call(self, verb: str, *words: str | Path, user: int | None = None) -> Done:
        """Run a verb with --json on the index."""
        picture = (self.album.probe,) if verb == "query" else ()
        return self._call(verb, *picture, *words, "--json", user=user)

    def begin(self, damage: Damage) -> None:
        """Put a copy of the template in place and damage it."""
        for stale in (self.index, self.folder / "damaged"):
            shutil.rmtree(stale, ignore_errors=True)
        shutil.copytree(self.template, self.index)
        if damage.warm:
            self.ask()
        damage.apply(self.index)

    def mend(self, damage: Damage) -> None:
        """Put the file back as it was."""
        path = self.index / damage.file
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        shutil.copy2(self.template / damage.file, path)


# What is done to files


def damages(subject: Subject, flips: int, seed: int) -> Iterator[Damage]:
    """Yield all ways to damage a subject, so many flipped bits a file."""
    rng = random.Random(seed)
    for file in subject.files:
        size = (subject.template / file).stat().st_size
        for length in sorted({0, 1, size // 2, size - 8, size - 1} & set(range(size))):
            yield Damage(f"cut to {length} of {size} bytes", file, _rewrite(file, _cut(length)))
        yield Damage("made longer", file, _rewrite(file, lambda data: data + b"\x00more"))
        if size:
            yield Damage("zeroed", file, _rewrite(file, lambda data: bytes(len(data))))
        for bit in rng.sample(range(8 * size), min(flips, 8 * size)):
            yield Damage(f"bit {bit} flipped", file, _rewrite(file, _flip(bit)), rng.random() < 0.5)
        yield Damage("deleted", file, lambda index, file=file: (index / file).unlink())  # type: ignore[misc]
        for source in _alike(subject.template, file):
            if source != file:
                yield Damage(f"swapped with {source}", file, _swap(file, source))
        for source in _alike(subject.other, file)[:1]:
            yield Damage("of another index", file, _copy(subject.other / source, file))
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


# What must hold


def rows(done: Done) -> list[dict[str, Any]]:
    """Return the rows of an answer; numbers of pictures depend on what a journal still told."""
    return [{k: v for k, v in row.items() if k != "image_id"} for row in done.rows]


def attempt(subject: Subject, damage: Damage, tally: Tally) -> None:
    """Try one damage and count what became of it."""
    tally.counts["tried"] += 1
    try:
        examine(subject, damage, tally)
    except Violation as error:
        tally.violations.append(f"{damage}: {error}")


def examine(subject: Subject, damage: Damage, tally: Tally) -> None:
    """Damage an index and check what every verb makes of it."""
    subject.begin(damage)
    user = NOBODY if damage.kind == "denied" else None
    for verb, *words in (*QUESTIONS, ("status",)):
        done = must(subject.call(verb, *words, user=user), 0, *ERRORS)
        if done.code:
            _check_named(damage, done)
        elif verb != "status":
            at = [verb for verb, *_ in QUESTIONS].index(verb)
            _check_right(done, at, subject.truth)
    verified = must(subject.call("verify", user=user), 0, *ERRORS)
    if is_noticeable(subject, damage):
        _check_noticed(subject, damage, verified)
    built = must(subject.call("build", "--workers", "1", user=user), 0, *ERRORS)
    if built.code:
        _refused(subject, damage, built)
        tally.counts["refused"] += 1
    else:
        tally.counts["repaired" if verified.code else "harmless"] += 1
    _check_mended(subject, damage, user if not built.code else None)


def is_noticeable(subject: Subject, damage: Damage) -> bool:
    """Tell whether verify has to notice: not the journal, nor JSON that says the same.

    Nor that a manifest has gone, which pruning does, nor what a killed build left.
    """
    folder = damage.file.partition("/")[0]
    if folder in UNNAMED or (folder == "snapshots" and damage.kind == "deleted"):
        return False
    if folder in HASHED and damage.file not in subject.named:
        return False
    before, after = subject.template / damage.file, subject.index / damage.file
    if damage.kind == "denied" or not after.is_file():
        return True
    try:
        return folder in HASHED or bool(
            json.loads(before.read_bytes()) != json.loads(after.read_bytes())
        )
    except ValueError:
        return True


def _check_right(done: Done, at: int, truth: dict[int, Answers]) -> None:
    number = done.summary["snapshot"]
    if number not in truth or rows(done) != truth[number][at]:
        message = f"a wrong answer: {done}"
        raise Violation(message)


def _check_named(damage: Damage, done: Done) -> None:
    """An error is one line that names the file (of two swapped, either) and a remedy."""
    if not any(name in done.err for name in _names(damage)):
        message = f"the error does not name the file: {done}"
        raise Violation(message)
    if damage.kind not in BY_HAND and not REMEDY.search(done.err):
        message = f"the error does not say what to do: {done}"
        raise Violation(message)


def _names(damage: Damage) -> list[str]:
    """Return the file, what it was swapped with, and what tells that a marker is another's."""
    names = [Path(damage.file).name, *re.findall(r"swapped with .*/(.*)", damage.kind)]
    is_other_marker = damage.file == "annidx.json" and "another" in damage.kind
    return [*names, "it belongs to the index"] if is_other_marker else names


def _check_noticed(subject: Subject, damage: Damage, done: Done) -> None:
    """Verify names the file, and what was expected and found: a hash, or else a size."""
    path = subject.index / damage.file
    if done.code == 0 or not any(name in done.out + done.err for name in _names(damage)):
        message = f"verify does not name it: {done}"
        raise Violation(message)
    if damage.file.startswith(HASHED) and path.is_file() and damage.kind != "denied":
        told = [
            (row["expected"], row["found"]) for row in done.rows if row.get("path") == str(path)
        ]
        was, now = (each.stat().st_size for each in (subject.template / damage.file, path))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if told not in ([(path.stem, digest)], [(f"{was} bytes", f"{now} bytes")]):
            message = f"verify does not say {path.stem} and {digest}: {done}"
            raise Violation(message)


def _refused(subject: Subject, damage: Damage, built: Done) -> None:
    """A build may refuse what it cannot know; then its remedy must work."""
    _check_named(damage, built)
    by_hand = damage.kind in BY_HAND or built.code == TOO_NEW
    if not by_hand and damage.file.startswith((*HASHED, *UNNAMED)):
        message = f"a build does not repair it: {built}"
        raise Violation(message)
    if by_hand:
        subject.mend(damage)
        again = subject.call("build", "--workers", "1")
    else:
        again = subject.call("build", subject.album.folder, "--rebuild", "--workers", "1")
    if again.code:
        message = f"{built}what it recommends does not help: {again}"
        raise Violation(message)


def _check_mended(subject: Subject, damage: Damage, user: int | None) -> None:
    """After the build, verify is clean and the answers are those of an index without damage."""
    if user is not None and (subject.index / damage.file).exists():
        (subject.index / damage.file).chmod(0o600)
    must(subject.call("verify", user=user), 0)
    for at, (verb, *words) in enumerate(QUESTIONS):
        done = must(subject.call(verb, *words, user=user), 0)
        if rows(done) != subject.mended[at]:
            message = f"a wrong answer after the build: {done}"
            raise Violation(message)


def sample(subject: Subject, todo: Sequence[Damage], limit: int, seed: int) -> list[Damage]:
    """Return a sample of as many kinds of damage and of files as it can; what is in use first."""
    shuffled = random.Random(seed).sample(todo, len(todo))
    shuffled.sort(key=lambda each: each.file not in subject.in_use)
    seen: Counter[tuple[str, str, str]] = Counter()
    ranked: list[tuple[int, int, Damage]] = []
    for damage in shuffled:
        path = Path(damage.file)
        group = (str(path.parent), path.suffix, damage.kind.split()[0])
        ranked.append((seen[group], len(ranked), damage))
        seen[group] += 1
    return [damage for _, _, damage in sorted(ranked, key=lambda each: each[:2])[:limit]]


def soak(
    folder: Path, run: Runner, *, flips: int, seed: int, limit: int | None = None, only: str = ""
) -> Tally:
    """Damage all files in all ways, or a sample of `limit`: of each kind and each file some."""
    subject, tally = Subject(folder, seed, run), Tally()
    todo = [each for each in damages(subject, flips, seed) if only in str(each)]
    for damage in todo if limit is None else sample(subject, todo, limit, seed):
        attempt(subject, damage, tally)
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--flips", type=int, default=100, help="bits to flip, a file")
    parser.add_argument("--limit", type=int, help="try a sample of so many damages")
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, Runner() as run:
        Path(folder).chmod(0o755)  # "denied" is tried as another user
        options = {"flips": args.flips, "seed": args.seed, "limit": args.limit}
        tally = soak(Path(folder), run, **options, only=args.only)
    return tally.report(args.json)


if __name__ == "__main__":
    sys.exit(main())
