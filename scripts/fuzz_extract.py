"""Feed mutated real files to the extraction of a build, and watch what becomes of all of them.

Seeds are the pictures of ../shared/data/torture (if there), of data/, and one of these saved in
every format. Each file is made of --seed and its number, and goes through worker processes as in a
build. A file that kills its worker or takes too long is kept in --findings. Wrong is what should
never be: an exception or a hang in this process, a result that is missing, of another file or of
another shape, memory that grows, processes, files or descriptors left behind.

    scripts/fuzz_extract.py [--minutes 20] [--seed 1] [--findings DIR]

Exit codes: 0 nothing wrong (lost workers alone are nothing wrong), 1 something was.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import itertools
import os
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from annidx.descriptors import DEFAULT_DESCRIPTORS, DESCRIPTORS
from annidx.images import decode, extract
from annidx.model import IGNORED, READABLE, STATUSES, File, Record
from annidx.workers import Lost, map_items

REPOSITORY = Path(__file__).resolve().parents[1]
MAX_SEED_BYTES = 400_000  # small files are quick, and damage to them hits something more often
BATCH = 16
MEMORY = 850_000_000  # for the pictures in work, as in a build with two workers
GRACE_S = 90.0  # beyond the time limit: a worker may take 60 s to start on a busy machine
LEAK_MB = {"parent": 30.0, "worker": 100.0}  # more growth than this is called a leak
SAVED_AS: dict[str, dict[str, Any]] = {
    ".bmp": {},
    ".gif": {},
    ".ico": {},
    ".jp2": {},
    ".png": {},
    ".ppm": {},
    ".tif": {},
    ".avif": {"speed": 10},
    ".webp": {"lossless": True},
    ".jpg": {"progressive": True},
    ".mpo": {"save_all": True},
    ".tiff": {"compression": "tiff_lzw"},
    ".apng": {},
}
NUMBERS = (
    *(0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 20_000, 50_000),
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF),
)

Mutation = Callable[[bytearray, random.Random, bytes], None]


@dataclass(frozen=True, slots=True)
class Seed:
    """A real file."""

    suffix: str
    data: bytes


@dataclass(slots=True)
class Report:
    """What became of the files, and what is wrong."""

    statuses: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    memory: dict[int, list[tuple[int, float]]] = field(default_factory=dict)  # (files, MB) by pid

    @property
    def files(self) -> int:
        """Return how many files were looked at."""
        return self.statuses.total()


def main() -> int:
    """Fuzz for some minutes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="for one file")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), metavar="DIR")
    args = parser.parse_args()
    shared = Path(os.environ.get("ANNIDX_SHARED", REPOSITORY.parent / "shared"))
    corpus = seeds(shared / "data" / "torture", REPOSITORY / "data" / "pictures")
    print(f"{len(corpus)} seeds, seed {args.seed}, {args.minutes:g} minutes", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        tempfile.tempdir = os.environ["TMPDIR"] = place  # whatever is left there is ours
        fuzzer = Fuzzer(corpus, Path(place), args.findings, args.seed, args.workers, args.timeout)
        report = fuzzer.run(seconds=args.minutes * 60, hang_s=args.timeout + GRACE_S)
    print_report(report)
    return 1 if report.wrong else 0


@dataclass(slots=True)
class Fuzzer:
    """One run."""

    seeds: Sequence[Seed]
    folder: Path  # TMPDIR of this process and its workers; the mutated files lie in it for a while
    findings: Path
    seed: int = 1
    workers: int = 2
    timeout_s: float = 10.0
    report: Report = field(default_factory=Report)
    waiting: deque[extract.Task] = field(default_factory=deque)  # in the order of their results
    # Workers that somebody else in this process had started before: a test's service, say.
    others: frozenset[int] = field(default_factory=lambda: frozenset(worker_processes()))

    def run(
        self, *, seconds: float = float("inf"), files: int | None = None, hang_s: float = 0.0
    ) -> Report:
        """Fuzz so long, or so many files; 0 for `hang_s` leaves hangs to the caller."""
        until = time.monotonic() + seconds
        numbers = itertools.count() if files is None else range(files)
        in_time = itertools.takewhile(lambda _: time.monotonic() < until, numbers)
        open_before = len(_open_files())
        try:
            self.take(map(self.task, in_time), hang_s)
        except Exception:
            self.report.wrong.append(f"an exception in the parent:\n{traceback.format_exc()}")
        finally:
            faulthandler.cancel_dump_traceback_later()
        self.report.wrong += [f"no result: {os.fsdecode(task.path)}" for task in self.waiting]
        self.report.wrong += self.left_behind(open_before)
        self.report.wrong += leaks(self.report)
        return self.report

    def take(self, tasks: Iterator[extract.Task], hang_s: float) -> None:
        """Let the workers look at all tasks; check each result."""
        memory, ordinary = extract.budget(MEMORY, self.workers)
        outcomes: Generator[extract.Outcome, None, None] = map_items(
            extract.Bounded(
                extract.Extractor(limits=decode.Limits(memory=memory), ordinary_bytes=ordinary)
            ),
            iter(lambda: list(itertools.islice(tasks, BATCH)), []),
            workers=self.workers,
            timeout_s=self.timeout_s,
            on_lost=self.lose,
            preload=extract.PRELOAD,
        )
        looked_at = told_at = time.monotonic()
        with closing(outcomes):
            for outcome in outcomes:
                task = self.waiting.popleft()
                self.report.wrong += wrong_with(task, outcome)
                self.report.statuses[getattr(outcome, "status", type(outcome).__name__)] += 1
                Path(os.fsdecode(task.path)).unlink()
                now = time.monotonic()
                if hang_s and now > looked_at + 1:
                    # Prints where every thread is, and ends this process with 1.
                    faulthandler.dump_traceback_later(hang_s, exit=True)
                if now > looked_at + 1:
                    looked_at = now
                    self.measure()
                if now > told_at + 30:
                    told_at = now
                    print(_progress(self.report), file=sys.stderr, flush=True)

    def task(self, number: int) -> extract.Task:
        """Write the mutated file of that number."""
        suffix, data = mutated(self.seeds, self.seed, number)
        path = self.folder / f"{self.seed}-{number:07}{suffix}"
        path.write_bytes(data)
        facts = path.stat()
        name = os.fsencode(path.name)
        file = File(0, name, facts.st_size, facts.st_mtime_ns, facts.st_dev, facts.st_ino)
        task = extract.Task(file=file, root=os.fsencode(self.folder))
        self.waiting.append(task)
        return task

    def lose(self, task: extract.Task, lost: Lost) -> extract.Outcome:
        """Keep what killed its worker or took too long, and why."""
        name = os.fsdecode(task.file.path)
        self.report.lost.append(f"{name}: {lost.reason}: {lost.detail}")
        self.findings.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(os.fsdecode(task.path), self.findings / name)
        with (self.findings / "reasons.txt").open("a", encoding="utf-8") as handle:
            handle.write(self.report.lost[-1] + "\n")
        return Record(task.file, time.time_ns(), lost.reason, lost.detail)

    def measure(self) -> None:
        """Note the memory of this process and of its workers."""
        for pid in (os.getpid(), *self.own()):
            with suppress(OSError):  # ended meanwhile
                series = self.report.memory.setdefault(pid, [])
                series.append((self.report.files, resident_mb(pid)))

    def own(self) -> list[int]:
        """Return the workers that are ours."""
        return [pid for pid in worker_processes() if pid not in self.others]

    def left_behind(self, open_before: int) -> list[str]:
        """Tell of processes, files and open descriptors that should be gone."""
        until = time.monotonic() + 5
        while self.own() and time.monotonic() < until:
            time.sleep(0.1)
        found = [f"worker process {pid} is left behind" for pid in self.own()]
        asked = {os.fsdecode(task.file.path) for task in self.waiting}
        names = {path.name for path in self.folder.iterdir()} - asked
        # The fork server's socket lies in one of these until the interpreter ends.
        found += [f"{name} is left behind in TMPDIR" for name in names if name[:5] != "pymp-"]
        if len(_open_files()) > open_before + 10:
            found.append(f"{len(_open_files())} open files, {open_before} before")
        return found


def seeds(*folders: Path) -> list[Seed]:
    """Read the small files of some folders, and save a picture of the last in every format."""
    found = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    real = [Seed(_suffix(path), path.read_bytes()) for path in found]
    photo = next(path for path in reversed(found) if path.suffix == ".jpg")
    with Image.open(photo) as opened:
        small = opened.convert("RGB").resize((96, 72))
    made = []
    for suffix, options in SAVED_AS.items():
        for image in (small, small.convert("L"), small.quantize(16), small.convert("CMYK")):
            buffer = io.BytesIO()
            with suppress(OSError, ValueError):  # no format has all modes
                image.save(buffer, Image.registered_extensions()[suffix], **options)
                made.append(Seed(suffix, buffer.getvalue()))
    return [*(seed for seed in real if 0 < len(seed.data) <= MAX_SEED_BYTES), *made]


def mutated(corpus: Sequence[Seed], seed: int, number: int) -> tuple[str, bytes]:
    """Return suffix and bytes of a file: the same for the same seeds, seed and number."""
    draw = random.Random(f"{seed}-{number}")
    chosen, other = draw.choice(corpus), draw.choice(corpus)
    data = bytearray(chosen.data)
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 5))):
        draw.choice(MUTATIONS)(data, draw, other.data)
    if data.startswith(b"\x89PNG") and draw.random() < 0.7:
        repair_png(data)
    suffix = draw.choice((chosen.suffix, chosen.suffix, chosen.suffix, other.suffix, ".jpg", ""))
    return suffix, bytes(data)


def _flip(data: bytearray, draw: random.Random, _other: bytes) -> None:
    """Change some bytes anywhere."""
    for _ in range(draw.choice((1, 2, 4, 16, 64)) if data else 0):
        data[draw.randrange(len(data))] = draw.randrange(256)


def _flip_head(data: bytearray, draw: random.Random, _other: bytes) -> None:
    """Change single bits of the first bytes, where the structure is."""
    for _ in range(draw.choice((1, 2, 4)) if data else 0):
        data[draw.randrange(min(len(data), 300))] ^= 1 << draw.randrange(8)


def _truncate(data: bytearray, draw: random.Random, _other: bytes) -> None:
    del data[draw.randrange(len(data) + 1) :]


def _number(data: bytearray, draw: random.Random, _other: bytes) -> None:
    """Write a number that is often wrong somewhere, mostly near the beginning."""
    size, little = draw.choice((2, 4)), draw.random() < 0.5
    reach = len(data) if draw.random() < 0.3 else min(len(data), 600)
    at = draw.randrange(reach + 1)
    value = draw.choice(NUMBERS) % (1 << 8 * size)
    data[at : at + size] = value.to_bytes(size, "little" if little else "big")


def _size(data: bytearray, draw: random.Random, _other: bytes) -> None:
    """Change width or height in the header of a JPEG, PNG, GIF or BMP; else some number."""
    where: list[tuple[int, int]] = []  # offset, bytes
    if data.startswith(b"\xff\xd8"):
        for frame in re.finditer(rb"\xff[\xc0-\xc3\xc9\xca]\0.[\x08\x0c]", data, re.DOTALL):
            where += [(frame.start() + 5, 2), (frame.start() + 7, 2)]
    elif data.startswith(b"\x89PNG"):
        where = [(16, 4), (20, 4)]
    elif data.startswith(b"GIF8"):
        where = [(6, 2), (8, 2)]
    elif data.startswith(b"BM"):
        where = [(18, 4), (22, 4)]
    if not where:
        _number(data, draw, b"")
        return
    at, size = draw.choice(where)
    # Mostly ordinary ones: very large pictures take their time, and fewer files are looked at.
    value = draw.choice(NUMBERS) if draw.random() < 0.2 else draw.randrange(1, 3000)
    value %= 1 << 8 * size
    data[at : at + size] = value.to_bytes(
        size, "little" if data.startswith((b"GI", b"BM")) else "big"
    )


def _splice(data: bytearray, draw: random.Random, other: bytes) -> None:
    """Put a piece of another file in, over what is there or between."""
    start = draw.randrange(len(other) + 1)
    piece = other[start : start + draw.choice((4, 16, 64, 256, 4096))]
    at = draw.randrange(len(data) + 1)
    data[at : at + draw.choice((0, len(piece)))] = piece


def _repeat(data: bytearray, draw: random.Random, _other: bytes) -> None:
    """Say a piece of the file again, once or very often."""
    start = draw.randrange(len(data) + 1)
    piece = bytes(data[start : start + draw.choice((2, 8, 32, 256, 4096))])
    times = draw.choice((1, 1, 2, 100))
    data[start:start] = piece * times


def _segment(data: bytearray, draw: random.Random, _other: bytes) -> None:
    """Double, drop or move a whole JPEG segment or PNG chunk."""
    starts = [match.start() for match in re.finditer(rb"\xff[\xc0-\xfe]", data[:4096])]
    if data.startswith(b"\x89PNG"):
        names = rb"IHDR|PLTE|tRNS|IDAT|IEND|iCCP|gAMA|zTXt|iTXt|tEXt|fcTL|fdAT|acTL|eXIf"
        starts = [match.start() - 4 for match in re.finditer(names, data)]
    if len(starts) < 2:
        _repeat(data, draw, b"")
        return
    one = draw.randrange(len(starts) - 1)
    piece = bytes(data[starts[one] : starts[one + 1]])
    to = draw.choice(starts)
    if draw.random() < 0.5:
        del data[starts[one] : starts[one + 1]]
    if draw.random() < 0.7:
        data[to:to] = piece


def _drop(data: bytearray, draw: random.Random, _other: bytes) -> None:
    """Leave a piece out, or fill it with one byte."""
    start = draw.randrange(len(data) + 1)
    size = min(draw.choice((1, 4, 32, 512)), len(data) - start)
    data[start : start + size] = draw.choice((b"", bytes(size), b"\xff" * size))


MUTATIONS: tuple[Mutation, ...] = (
    *(_flip, _flip_head, _flip_head, _truncate, _number, _number),
    *(_size, _splice, _repeat, _segment, _drop),
)


def repair_png(data: bytearray) -> None:
    """Make the checksums of a PNG right again, or no decoder looks at what was changed."""
    at = 8
    while at + 12 <= len(data):
        stop = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if stop + 4 > len(data):
            return
        data[stop : stop + 4] = zlib.crc32(data[at + 4 : stop]).to_bytes(4, "big")
        at = stop + 4


def wrong_with(task: extract.Task, outcome: extract.Outcome) -> list[str]:
    """Tell what is wrong with a result, whatever the file holds."""
    name = os.fsdecode(task.file.path)
    if not isinstance(outcome, Record):  # the file has not vanished, nor is it known
        return [f"{name}: {type(outcome).__name__} instead of a record"]
    texts = outcome.error + outcome.format + outcome.taken + outcome.camera
    sizes = {each: len(stored) for each, stored in outcome.descriptors.items()}
    readable = outcome.status in READABLE
    expected = {each: DESCRIPTORS[each].width for each in DEFAULT_DESCRIPTORS}
    checks = {
        f"it is of {outcome.file.path!r}": outcome.file.path == task.file.path,
        f"its status is {outcome.status!r}": outcome.status in STATUSES,
        f"its descriptors have {sizes} bytes": sizes == (expected if readable else {}),
        f"its size is {outcome.width} x {outcome.height}": not readable
        or min(outcome.width, outcome.height) > 0,
        f"its orientation is {outcome.orientation}": outcome.orientation in range(1, 9),
        "its hashes are not of 32 bytes": len(outcome.content_hash + outcome.pixel_hash) == 64,
        f"its texts are not UTF-8: {texts!r}": _is_utf8(texts),
        "it has no reason": outcome.error != "" or outcome.status in READABLE | IGNORED,
    }
    return [f"{name}: {problem}" for problem, fine in checks.items() if not fine]


def leaks(report: Report) -> list[str]:
    """Tell which processes keep growing."""
    found = []
    for pid, series in report.memory.items():
        kind = "parent" if pid == os.getpid() else "worker"
        if (grown := growth_mb(series)) is not None and grown > LEAK_MB[kind]:
            found.append(f"a leak: a {kind} has grown by {grown:.0f} MB")
    return found


def growth_mb(series: Sequence[tuple[int, float]]) -> float | None:
    """Return by how much a process has grown: its least in the last quarter and in the second.

    The least, since a picture in work takes what it takes. None when it was seen too seldom.
    """
    quarter = len(series) // 4
    if quarter < 10:
        return None
    used = [each for _, each in series]
    return min(used[-quarter:]) - min(used[quarter : 2 * quarter])


def worker_processes() -> list[int]:
    """Return the children of our children: the fork server's (Linux; none elsewhere)."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(path.parent.name)] = int(fields[1])
    return [pid for pid, parent in parents.items() if parents.get(parent) == os.getpid()]


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def print_report(report: Report) -> None:
    """Print the summary: a line a status, a line a process, and whatever is wrong."""
    for status, count in report.statuses.most_common():
        print(f"{status:16} {count:9,}")
    print(f"{'files':16} {report.files:9,}")
    for pid, series in report.memory.items():
        kind = "parent" if pid == os.getpid() else "worker"
        files = series[-1][0] - series[0][0]
        if (grown := growth_mb(series)) is not None and files:
            slope = grown / files * 20_000  # half of the files lie between the two quarters
            ends = f"{series[0][1]:.0f} MB to {series[-1][1]:.0f} MB"
            print(f"{kind} memory: {ends}, {slope:+.1f} MB per 10,000 files")
    print(f"{len(report.lost)} workers lost", *report.lost, sep="\n  ")
    print(f"{len(report.wrong)} things wrong", *report.wrong, sep="\n  ")


def _progress(report: Report) -> str:
    counts = ", ".join(f"{name} {count:,}" for name, count in report.statuses.most_common())
    last = [series[-1] for series in report.memory.values() if series]
    used = sum(mb for files, mb in last if files == max(last)[0])  # the ended ones left out
    return f"{report.files:,} files: {counts}; {used:.0f} MB; {len(report.wrong)} wrong"


def _open_files() -> list[Path]:
    folder = Path("/proc/self/fd")
    return list(folder.iterdir()) if folder.is_dir() else []


def _suffix(path: Path) -> str:
    return path.suffix if re.fullmatch(r"\.\w{1,5}", path.suffix) else ""


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
