"""Damage every file of an index in every way, and see what is made of it.

Each file of an index with three snapshots and a killed build (marker, manifests, segments, graphs,
their sidecars, journal, lock) is cut, lengthened, flipped bit by bit, zeroed, swapped with another
one, deleted, replaced by that of another index, by a folder, by a fifo, and made unreadable. Then
each verb must give the right answer of a published snapshot or an error that names the file and
says what to do; verify must name it; a build must repair it or say why it does not and what would.
Storms damage several files at once.

    python -m scripts.soak_damage [--flips 100] [--storms 200] [--limit N] [--only WORDS]
        [--seed 1] [--json]

Exit codes: 0 no violation, 1 a violation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.damaging import NOBODY, Damage, damages, files_of, sample, storms
from tests.faults import Album, Tally, Violation, must
from tests.forking import Done, Runner

TIMEOUT_S = 20.0
ERRORS = (1, 10, 12, 13)
TOO_NEW = 13
REMEDY = re.compile(r'"annidx \w|[Uu]pgrade|[Rr]emove|[Rr]estore|[Mm]ove it|permission')
HASHED = ("segments", "graphs")
BY_HAND = ("denied", "a folder", "a fifo")
"""Kinds that a message of the system explains, and that no build has to repair."""
UNNAMED = ("staging", "locks", "tmp")
"""What no snapshot consists of."""
QUESTIONS = (("query", "-k", "1000", "--engine", "graph"), ("pairs",))
"""So few pictures would be scanned: the graph has to be asked for, or its damage went unseen."""

Answers = list[list[dict[str, Any]]]


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
        self._remember = False
        for place, number in ((self.other, seed + 1), (self.template, seed)):
            self.album = Album(folder / f"for {place.stem}" / "album", number)
            self._build(place, self.album)
        shutil.copytree(self.template, self.index)
        must(self._call("build", "--workers", "1"), 0)
        self.mended = self.ask()[1]
        must(self._call("verify"), 0)
        manifests = sorted((self.template / "snapshots").iterdir())
        newest, named = manifests[-1].read_text(), "".join(map(Path.read_text, manifests))
        self.files = files_of(self.template)
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
        words = (*words, "--index", self.index)
        return self.run(*words, timeout_s=TIMEOUT_S, user=user, remember=self._remember)

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
        self._remember = damage.warm
        if damage.warm:
            self.ask()
        damage.apply(self.index)

    def mend(self, file: str) -> None:
        """Put a file back as it was."""
        path = self.index / file
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        shutil.copy2(self.template / file, path)


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
    if ", " in damage.file:  # whatever a storm hit: some of it may be none of these
        return False
    folder = damage.file.partition("/")[0]
    if folder in UNNAMED or (folder == "snapshots" and damage.kind == "deleted"):
        return False
    if folder in HASHED and damage.file not in subject.named:
        return False
    before, after = subject.template / damage.file, subject.index / damage.file
    if damage.kind == "denied" or not after.is_file():
        return True
    return folder in HASHED or _meaning(before) != _meaning(after)


def _meaning(path: Path) -> Any:
    """Return what a JSON file says; of the marker what matters, its bytes if it says nothing."""
    try:
        fields = json.loads(path.read_bytes())
        return fields if path.name != "annidx.json" else (fields["format"], fields["index_id"])
    except (ValueError, KeyError, TypeError):
        return path.read_bytes()


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
    damaged = [Path(file).name for file in damage.file.split(", ")]
    names = [*damaged, *re.findall(r"swapped with .*/(.*)", damage.kind)]
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
    single = ", " not in damage.file
    if single and not by_hand and damage.file.startswith((*HASHED, *UNNAMED)):
        message = f"a build does not repair it: {built}"
        raise Violation(message)
    if by_hand:
        for file in damage.file.split(", "):
            subject.mend(file)
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


def soak(
    folder: Path,
    run: Runner,
    *,
    flips: int,
    seed: int,
    limit: int | None = None,
    only: str = "",
    storm_count: int = 0,
) -> Tally:
    """Damage all files in all ways, or a sample of `limit`: of each kind and each file some."""
    subject, tally = Subject(folder, seed, run), Tally()
    every = damages(subject.template, subject.other, flips, seed)
    todo = [each for each in every if only in str(each)]
    if limit is not None:
        todo = sample(todo, limit, seed, subject.in_use)
    for damage in (*todo, *storms(subject.template, storm_count, seed)):
        attempt(subject, damage, tally)
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--flips", type=int, default=100, help="bits to flip, a file")
    parser.add_argument("--storms", type=int, default=200, help="damages to several files at once")
    parser.add_argument("--limit", type=int, help="try a sample of so many damages")
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, Runner() as run:
        Path(folder).chmod(0o755)  # "denied" is tried as another user
        options = {"flips": args.flips, "seed": args.seed, "limit": args.limit}
        tally = soak(Path(folder), run, **options, only=args.only, storm_count=args.storms)
    return tally.report(args.json)


if __name__ == "__main__":
    sys.exit(main())
