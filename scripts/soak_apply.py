"""Kill an apply, or the undo after it, at every single step, and see whether a picture is lost.

A small archive of copies, edits, RAW+JPEG, sidecars and odd names is cleared up over and over. Each
time the process is killed (SIGKILL) before or after one of its steps: a rename, a link, a folder
that is made or synced, a line of the journal, also one that is written by half. Then, in turn,
the same plan is applied again, or undone. After each: every content is there, by hash over the
whole tree; every kept file is where it was; after an undo the tree is what it was at first.

    python -m scripts.soak_apply [--rounds 3] [--seed 1] [--every 1] [--json]

Exit codes: 0 nothing was lost, 1 something was, or was not put back.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from annidx.commands.common import SOME_UNREADABLE
from annidx.errors import ActionRefused
from annidx.review import apply, moving, planned, undo
from annidx.review.journal import How
from annidx.review.planned import Plan
from annidx.store import files
from tests.faults import Tally, Violation

PICTURES = Path(__file__).parents[1] / "data" / "pictures"
SIDECAR = b"<x:xmpmeta>%d</x:xmpmeta>"
LEFT = {"apply": 0.5, "undo": 0.5}
STEPS: tuple[tuple[Any, str], ...] = (
    *((moving, name) for name in ("rename", "link", "unlink", "sync", "make_folders")),
    *((os, name) for name in ("mkdir", "link", "unlink", "rmdir")),
    (files, "append"),
)
Tree = dict[bytes, str]
Way = tuple[How, bool]
WAYS: tuple[Way, ...] = (("remove", False), ("remove", True), ("hardlink", False))
"""How files are removed, and whether by link and unlink, as where renameat2 is missing."""


@dataclass(slots=True)
class Killer:
    """Counts steps, and kills this process at one of them.

    Attributes
    ----------
    at : int
        Which one; below 0 for none.
    seen : int
        How many there were so far.
    """

    at: int = -1
    seen: int = field(default=0, init=False)

    def __call__(self) -> None:
        """Count a step."""
        if self.seen == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen += 1

    def around(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step that may be the last one, before it or right after."""

        def stepped(*words: Any, **options: Any) -> Any:
            self()
            result = step(*words, **options)
            self()
            return result

        return stepped

    def torn(self, append: Callable[[Path, bytes], None]) -> Callable[[Path, bytes], None]:
        """Return an append to a log that may also end in the middle of a line."""

        def appended(path: Path, data: bytes) -> None:
            self()
            if self.seen == self.at:
                known = path.read_bytes() if path.exists() else b""
                whole = known[: known.rfind(b"\n") + 1]  # what was torn before goes first
                path.write_bytes(whole + data[: len(data) // 2])
            self()
            append(path, data)
            self()

        return appended


@contextmanager
def stepping(killer: Killer, *, linking: bool) -> Iterator[None]:
    """Have all steps counted for a while."""
    known = [(owner, name, getattr(owner, name)) for owner, name in STEPS]
    call = moving._libc
    for owner, name, step in known:
        setattr(owner, name, killer.torn(step) if owner is files else killer.around(step))
    if linking:
        moving._libc = None  # no renameat2 there
    try:
        yield
    finally:
        moving._libc = call
        for owner, name, step in known:
            setattr(owner, name, step)


def archive(folder: Path) -> None:
    """Make pictures with copies, edits, companions and odd names."""
    camera, backup, odd = (folder / name for name in ("camera", "backup/deep", "odd"))
    for each in (camera, backup, odd):
        each.mkdir(parents=True)
    photos = sorted((PICTURES / "2019-holiday").glob("*.jpg"))[:4]
    for number, photo in enumerate(photos):
        for place in (camera, backup):
            shutil.copy(photo, place / f"IMG_{number}.JPG")
            (place / f"IMG_{number}.xmp").write_bytes(SIDECAR % number + place.name.encode())
    for place in (camera, backup):
        (place / "IMG_0.NEF").write_bytes(b"II*\0raw of both\0" * 999)
        (place / "IMG_1.CR2").write_bytes(b"II*\0raw of its own\0" + place.name.encode())
    shutil.copy(photos[0], odd / os.fsdecode(b"\xff new\nline.jpg"))
    shutil.copy(PICTURES / "2020-home" / "coffee.jpg", odd / "coffee.jpg")
    shutil.copy(PICTURES / "2020-home" / "coffee-edit.jpg", odd / "edit.jpg")
    (odd / "edit.jpg.xmp").write_bytes(b"of the edit")


def tree_of(folder: Path) -> Tree:
    """Return the hash of each file below a folder, by its path below it."""
    found: Tree = {}
    base = os.fsencode(folder)
    for place, _, names in os.walk(base):
        for name in names:
            path = place + b"/" + name
            data = Path(os.fsdecode(path)).read_bytes()
            found[path[len(base) + 1 :]] = hashlib.sha256(data).hexdigest()
    return found


def planned_for(folder: Path, index: Path) -> Plan:
    """Build an index, decide about the edit, and return the plan of it and all copies."""
    odd, output = folder / "odd", index.parent / "plan.jsonl"
    for words in (
        ["build", folder, "--workers", "1"],
        ["decide", "--remove", odd / "edit.jpg", "--for", odd / "coffee.jpg"],
        ["plan", "--auto", "identical", "--reference", folder / "camera", "--output", output],
    ):
        command = [sys.executable, "-m", "annidx", *map(str, words), "--index", str(index)]
        done = subprocess.run([*command, "--quiet"], check=False, capture_output=True, text=True)
        if done.returncode not in (0, SOME_UNREADABLE):  # the RAW files are none
            raise Violation(done.stderr)
    return planned.load(output)


@dataclass(slots=True)
class Soak:
    """An archive, its plan, and what must always hold.

    Attributes
    ----------
    folder, index, pristine : Path
    plan : Plan
    tally : Tally
    """

    folder: Path
    index: Path
    pristine: Path
    plan: Plan
    tally: Tally

    def restore(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.pristine, self.folder)
        for path in (self.index / "decisions").glob("*.plan.log"):
            path.unlink()

    def call(self, verb: str, way: Way, at: int) -> int:
        """Apply or undo in a child that is killed at a step; return how many steps it took.

        -1 when it was killed.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                killer = Killer(at)
                with stepping(killer, linking=way[1]):
                    self._act(verb, way[0])
                os.write(writing, str(killer.seen).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return -1
        if os.waitstatus_to_exitcode(status) != 0:
            message = f"{verb} failed"
            raise Violation(message)
        return int(told)

    def _act(self, verb: str, how: How) -> None:
        if verb == "apply":
            apply.apply(self.index, self.plan, act=True, how=how)
        else:
            try:
                undo.undo(self.index, self.plan.plan_id, act=True)
            except ActionRefused as error:  # killed before the journal was begun
                if "never applied" not in str(error):
                    raise

    def check(self, *, undone: bool = False, done: How | None = None) -> None:
        """Check that nothing is lost; and that all is undone, or done in some way, or either."""
        at_first, now = tree_of(self.pristine), tree_of(self.folder)
        contents = Counter(now.values())
        lost = [path for path, content in at_first.items() if not contents[content]]
        base = os.fsencode(self.folder)
        kept = {each.kept[len(base) + 1 :] for each in self.plan.removals}
        lost += [path for path in kept if now.get(path) != at_first[path]]
        if lost:
            message = f"lost: {lost}"
            raise Violation(message)
        if undone and now != at_first:
            message = f"not put back: {sorted(at_first.items() ^ now.items())}"
            raise Violation(message)
        gone = {
            each.path[len(base) + 1 :]
            for each in self.plan.removals
            if done == "remove" or (done and each.kind == "identical")
        }
        prefix = b".annidx-removed/%s/" % self.plan.plan_id.encode()
        if left := sorted(path for path in gone if prefix + path not in now):
            message = f"not removed: {left}"
            raise Violation(message)

    def once(self, way: Way, at: int, rng: random.Random) -> bool:
        """Kill an apply at a step, or the undo after it, go on, undo; False past the last step."""
        self.restore()
        self.tally.counts["applies"] += 1
        if self.call("apply", way, at) >= 0:
            return False
        self.tally.counts["killed"] += 1
        self.check()
        if rng.random() < LEFT["apply"]:
            self.tally.counts["applies"] += 1
            self.call("apply", way, -1)
            self.check(done=way[0])
        self.undo_killed(way, rng)
        return True

    def undo_killed(self, way: Way, rng: random.Random) -> None:
        """Kill the undo at some step, now and then apply again, and undo to the end."""
        if self.call("undo", way, rng.randrange(200)) < 0:
            self.tally.counts["killed"] += 1
            self.check()
            if rng.random() < LEFT["undo"]:
                self.tally.counts["applies"] += 1
                self.call("apply", way, -1)
                self.check(done=way[0])
            self.call("undo", way, -1)
        self.check(undone=True)


def soak(folder: Path, *, rounds: int, seed: int, every: int = 1) -> Tally:
    """Kill at each step of each way, so many times over; `every` n-th step only."""
    tally, rng = Tally(), random.Random(seed)
    pristine, root, index = folder / "pristine", folder / "archive", folder / "index"
    archive(pristine)
    shutil.copytree(pristine, root)
    it = Soak(root, index, pristine, planned_for(root, index), tally)
    assert {how for how, _ in WAYS} <= set(get_args(How))
    for number in range(rounds):
        for way in WAYS:
            at = number % every
            while True:
                try:
                    if not it.once(way, at, rng):
                        break
                except Violation as error:
                    tally.violations.append(f"{way}, round {number}, step {at}: {error}")
                at += every
    tally.counts["lost"] = sum("lost" in each for each in tally.violations)
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="kill at every n-th step only")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        tally = soak(Path(folder).resolve(), rounds=args.rounds, seed=args.seed, every=args.every)
    return tally.report(args.json)


if __name__ == "__main__":
    sys.exit(main())
