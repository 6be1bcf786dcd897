"""Extraction and builds against the floor and the rivals: the table of what must be reached.

Every ratio is taken in one run: the two sides take turns, and the median over the rounds counts.
CPU seconds for what one core does, wall seconds for whole processes. Pictures are made once, under
--work, from Debian's wallpapers (plasma-workspace-wallpapers, gnome-backgrounds, mate-backgrounds)
or --photos, and from the small photos of ../shared/data. djpeg is in libjpeg-turbo-progs.

    scripts/bench_extract.py [--work DIR] [--only ROW ...] [--czkawka-python PYTHON] [--json]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from PIL import Image, ImageOps, features

from annidx.images import extract
from annidx.model import File, Record
from annidx.workers import map_items

Work = Callable[[], float]  # does something, returns the seconds it took
Files = Sequence[Path]

LARGE = {12: (4000, 3000), 24: (6000, 4000)}  # megapixels: width, height
SMALL = (500, 375)  # 0.19 megapixels
WALLPAPERS = (Path("/usr/share/backgrounds"), Path("/usr/share/wallpapers"))
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
LONG_AGO_NS = 1_600_000_000_000_000_000  # what has just been written is read again by a build

NO_DJPEG = "needs djpeg of the Debian package libjpeg-turbo-progs"
NO_CZKAWKA = (
    "needs czkawka: python3 -m venv V; V/bin/pip install czkawka; --czkawka-python V/bin/python"
)
CZKAWKA_VERSION = "import importlib.metadata as m, czkawka; print(m.version('czkawka'))"
CZKAWKA = """
import pathlib, sys, czkawka
finder = czkawka.ImageSimilarity()
finder.set_directories([pathlib.Path(sys.argv[1])])
finder.set_similarity(15)  # as in its README
print(len(finder.find_similar()))
"""
WALK = """
import os, sys
folders = [sys.argv[1]]
while folders:
    with os.scandir(folders.pop()) as entries:
        for entry in entries:
            entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the medians of both sides, and the median of what `must` bounds."""

    name: str
    work: str
    must: str  # such as '<= 1.25'
    unit: str = ""
    annidx: float = 0.0
    rival: float = 0.0
    ratio: float | None = None  # None: not measured; `note` says why
    note: str = ""

    @property
    def verdict(self) -> str:
        """Tell whether the goal was reached."""
        if self.ratio is None:
            return "not measured"
        relation, bound = self.must.split()
        reached = self.ratio <= float(bound) if relation == "<=" else self.ratio >= float(bound)
        return "ok" if reached else "missed"


@dataclass(frozen=True, slots=True)
class Bench:
    """The options, and the pictures, which are made when they are first asked for."""

    work: Path
    photos: Path | None
    repeat: int
    files: int
    czkawka: str

    def rounds(self, ours: Work, theirs: Work) -> list[tuple[float, float]]:
        """Let two sides take turns, after a round that warms the caches."""
        return [(ours(), theirs()) for _ in range(self.repeat + 1)][1:]

    def large(self, megapixels: int, *, progressive: bool = False) -> Files:
        """Return 24 distinct JPEGs of 12 or 24 megapixels."""
        name = f"progressive-{megapixels}mp" if progressive else f"large/{megapixels}mp"
        size = LARGE[megapixels]
        return sorted(self._made(name, partial(self._make_large, size, progressive)).iterdir())

    def small(self) -> Path:
        """Return a folder of 5,400 small photos: 1,800 originals, and two crops of each."""
        return self._made("small", _make_small)

    def many(self) -> Path:
        """Return a folder of tiny distinct JPEGs, a thousand a folder."""
        return self._made(f"many-{self.files}", partial(_make_many, self.files))

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        folder = self.work / name
        if not folder.is_dir():
            print(f"making {folder}", file=sys.stderr)
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            make(part)
            part.rename(folder)
        return folder

    def _make_large(self, size: tuple[int, int], progressive: bool, to: Path) -> None:
        folders = [self.photos] if self.photos else WALLPAPERS
        found = [each for folder in folders for each in folder.rglob("*") if each.is_file()]
        found = [path for path in found if path.suffix.lower() in SUFFIXES]
        found = sorted(found, key=lambda path: (-path.stat().st_size, path))[:24]
        if not found:
            sys.exit(f"no pictures in {', '.join(map(str, folders))}: see --photos in --help")
        for number in range(24):
            part = _crop(found[number % len(found)], random.Random(number), 0.9)
            large = part.resize(size, Image.Resampling.BICUBIC)
            path = to / f"{number:02}.jpg"
            large.save(path, quality=90, subsampling="4:2:0", progressive=progressive)


def baseline(bench: Bench, megapixels: int) -> Row:
    """Extract large baseline JPEGs, against djpeg at 1/8."""
    files = bench.large(megapixels)
    theirs = partial(_djpeg_cpu, files) if shutil.which("djpeg") else None
    what = f"baseline JPEGs of {megapixels} MP, against djpeg -scale 1/8"
    return _cpu_row(bench, f"baseline{megapixels}", what, "<= 1.25", files, theirs)


def progressive(bench: Bench) -> Row:
    """Extract progressive JPEGs, against Pillow's own draft."""
    files = bench.large(12, progressive=True)
    what = "progressive JPEGs of 12 MP, speed against Pillow's draft"
    return _cpu_row(bench, "progressive", what, ">= 3", files, partial(_cpu, files, _pillow_draft))


def small(bench: Bench) -> Row:
    """Extract small JPEGs, against the naive thumbnail."""
    files = sorted(bench.small().glob("ukbench*-[12].jpg"))
    what = "JPEGs of 0.19 MP, speed against open().convert('RGB').resize((20, 20))"
    return _cpu_row(bench, "small", what, ">= 0.8", files, partial(_cpu, files, _naive))


def large_folder(bench: Bench) -> Row:
    """Build an index of large photos, against czkawka."""
    count = len(bench.large(12)) + len(bench.large(24))
    work = f"annidx build of {count} JPEGs of 12 and 24 MP, 2 workers, against czkawka"
    folder = bench.work / "large"
    ours = partial(_build_wall, folder)
    return _against_czkawka(bench, Row("large-folder", work, "<= 0.5", "wall s"), ours, folder)


def small_folder(bench: Bench) -> Row:
    """Build an index of small photos and ask for all pairs, against czkawka."""
    folder = bench.small()
    count = sum(1 for _ in folder.iterdir())
    work = f"annidx build + pairs of {count:,} small JPEGs, 2 workers, against czkawka"
    ours = partial(_build_wall, folder, then="pairs")
    return _against_czkawka(bench, Row("small-folder", work, "<= 1.5", "wall s"), ours, folder)


def two_workers(bench: Bench) -> Row:
    """Extract large photos with two workers, against one; their start is included."""
    files = [*bench.large(12), *bench.large(24)]
    files *= max(1, round(8 / _map_wall(files, 1)))  # enough of them to make the start small
    rounds = bench.rounds(partial(_map_wall, files, 2), partial(_map_wall, files, 1))
    work = f"extraction of {len(files)} JPEGs of 12 and 24 MP, speed of two workers against one"
    row = Row("workers", work, ">= 1.8", "wall s")
    if not shutil.which("djpeg"):
        return _summed(row, rounds)
    machine_own = _djpeg_wall(files, 1) / _djpeg_wall(files, 2)
    return _summed(row, rounds, f"two djpeg at a time against one: {machine_own:.2f}")


def second_build(bench: Bench) -> list[Row]:
    """Build again when nothing has changed, and when 1 % has."""
    folder = bench.many()
    with tempfile.TemporaryDirectory() as place:
        build = partial(_annidx, "build", str(folder), "--index", f"{place}/index", "--json")
        first_s = _wall(build)
        walk = partial(subprocess.run, [sys.executable, "-c", WALK, str(folder)], check=True)
        rounds = bench.rounds(partial(_wall, build), partial(_wall, walk))
        changed = sorted(folder.rglob("*.jpg"))[::100]
        for path in changed:
            _tiny(time.time_ns()).save(path)
        summary = json.loads(build().splitlines()[-1])
    work = f"annidx build of {bench.files:,} files, nothing changed; seconds beyond a plain walk"
    ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
    beyond = statistics.median(our - their for our, their in rounds)
    note = f"the first build took {first_s:.0f} s"
    unchanged = Row("second-build", work, "<= 3", "wall s", ours, theirs, beyond, note)
    work = "the same after 1 % has changed; pictures decoded beyond those"
    counts = summary["decoded"], len(changed), summary["decoded"] - len(changed)
    note = f"it took {summary['seconds']:.1f} s"
    return [unchanged, Row("changed", work, "<= 0", "pictures", *counts, note)]


ROWS: dict[str, Callable[[Bench], Row | list[Row]]] = {
    "baseline12": partial(baseline, megapixels=12),
    "baseline24": partial(baseline, megapixels=24),
    "progressive": progressive,
    "small": small,
    "large-folder": large_folder,
    "small-folder": small_folder,
    "workers": two_workers,
    "second-build": second_build,
}


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the pictures made there")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="make the large ones of these")
    parser.add_argument("--only", action="append", choices=ROWS, help="this row; may be repeated")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds (5)")
    parser.add_argument("--files", type=int, default=100_000, metavar="N", help="of second-build")
    parser.add_argument("--czkawka-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)).resolve()
        bench = Bench(work, args.photos, args.repeat, args.files, args.czkawka_python)
        about = machine(bench)
        if not args.json:
            print(*(f"{name}: {value}" for name, value in about.items()), sep="\n", end="\n\n")
        rows: list[Row] = []
        for name in args.only or ROWS:
            measured = ROWS[name](bench)
            rows += measured if isinstance(measured, list) else [measured]
            if not args.json:
                print_rows(measured if isinstance(measured, list) else [measured])
    if args.json:
        listed = [asdict(row) | {"verdict": row.verdict} for row in rows]
        print(json.dumps({"machine": about, "rows": listed}, indent=1))
    return 0


def machine(bench: Bench) -> dict[str, str]:
    """Return what the figures depend on."""
    version = importlib.metadata.version
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    turbo = features.version("libjpeg_turbo")
    return {
        "machine": f"{_processor()}, {cores} cores; load at the start {os.getloadavg()[0]:.2f}",
        "annidx": f"{version('annidx')}, Python {platform.python_version()}",
        "numpy": version("numpy"),
        "Pillow": f"{version('pillow')} with libjpeg-turbo {turbo}",
        "djpeg": _first_line("djpeg", "-version") or "not installed",
        "czkawka": _first_line(bench.czkawka, "-c", CZKAWKA_VERSION) or "not installed",
        "measured": f"medians of {bench.repeat} rounds, the sides in turn",
    }


def print_rows(rows: Sequence[Row]) -> None:
    """Print rows of the table."""
    for row in rows:
        print(f"{row.name}: {row.work}")
        sides = f"annidx {row.annidx:.2f}, rival {row.rival:.2f} {row.unit}"
        ratio = "" if row.ratio is None else f"{sides}: {row.ratio:.2f}, "
        note = f" ({row.note})" if row.note else ""
        print(f"    {ratio}must be {row.must}: {row.verdict}{note}", flush=True)


def _cpu_row(
    bench: Bench, name: str, what: str, must: str, files: Files, theirs: Work | None
) -> Row:
    size = statistics.mean(path.stat().st_size for path in files) / 1e6
    row = Row(name, f"{len(files)} {what}; {size:.2f} MB each", must, "CPU ms a file")
    if theirs is None:
        return Row(row.name, row.work, must, note=NO_DJPEG)
    scale = 1000 / len(files)
    rounds = bench.rounds(partial(_extract_cpu, files), theirs)
    return _summed(row, [(our * scale, their * scale) for our, their in rounds])


def _against_czkawka(bench: Bench, row: Row, ours: Work, folder: Path) -> Row:
    if not _first_line(bench.czkawka, "-c", CZKAWKA_VERSION):
        return Row(row.name, row.work, row.must, note=NO_CZKAWKA)
    return _summed(row, bench.rounds(ours, partial(_czkawka_wall, bench.czkawka, folder)))


def _summed(row: Row, rounds: Sequence[tuple[float, float]], note: str = "") -> Row:
    """Return the row with medians; a bound from below is one on speeds, from above on times."""
    faster = row.must.startswith(">=")
    ratio = statistics.median(their / our if faster else our / their for our, their in rounds)
    ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
    return Row(row.name, row.work, row.must, row.unit, ours, theirs, ratio, note)


def _extract_cpu(files: Files) -> float:
    """Extract all descriptors in this process."""
    tasks, extractor = _tasks(files), extract.Extractor()
    started = time.process_time()
    for task in tasks:
        _check(extractor(task))
    return time.process_time() - started


def _map_wall(files: Files, count: int) -> float:
    """Extract all descriptors in worker processes, as a build does."""
    started = time.perf_counter()
    outcomes = map_items(
        extract.Extractor(),
        extract.batches(_tasks(files)),
        workers=count,
        timeout_s=60,
        on_lost=lambda task, lost: sys.exit(f"{os.fsdecode(task.path)}: {lost}"),
        preload=extract.PRELOAD,
    )
    with closing(outcomes):
        for outcome in outcomes:
            _check(outcome)
    return time.perf_counter() - started


def _check(outcome: object) -> None:
    if not isinstance(outcome, Record) or outcome.status != "ok":
        sys.exit(f"not extracted: {outcome}")


def _tasks(files: Files) -> list[extract.Task]:
    tasks = []
    for path in files:
        facts = path.stat()
        name = os.fsencode(path.relative_to("/"))
        file = File(0, name, facts.st_size, facts.st_mtime_ns, facts.st_dev, facts.st_ino)
        tasks.append(extract.Task(file=file, root=b"/", alone=True))
    return tasks


def _cpu(files: Files, look: Callable[[Path], None]) -> float:
    started = time.process_time()
    for path in files:
        look(path)
    return time.process_time() - started


def _pillow_draft(path: Path) -> None:
    with Image.open(path) as image:
        image.draft("RGB", (160, 160))
        image.load()


def _naive(path: Path) -> None:
    with Image.open(path) as image:
        image.convert("RGB").resize((20, 20))


def _djpeg(path: Path) -> None:
    subprocess.run(["djpeg", "-scale", "1/8", "-outfile", os.devnull, path], check=True)


def _djpeg_cpu(files: Files) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for path in files:
        _djpeg(path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _djpeg_wall(files: Files, at_once: int) -> float:
    with ThreadPoolExecutor(at_once) as pool:
        return _wall(lambda: list(pool.map(_djpeg, files)))


def _build_wall(folder: Path, then: str = "") -> float:
    """Build a fresh index and perhaps ask it; return the wall time of all of it."""
    with tempfile.TemporaryDirectory() as place:
        index = ("--index", f"{place}/index")
        started = time.perf_counter()
        _annidx("build", str(folder), *index, "--workers", "2")
        if then:
            _annidx(then, *index)
        return time.perf_counter() - started


def _annidx(*words: str) -> str:
    """Run annidx and return what it prints."""
    command = [sys.executable, "-m", "annidx", *words]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def _czkawka_wall(python: str, folder: Path) -> float:
    """Run czkawka where it finds nothing remembered of an earlier run."""
    with tempfile.TemporaryDirectory() as home:
        places = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), home)
        command = [python, "-c", CZKAWKA, str(folder)]
        run = partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
        return _wall(lambda: run(env=os.environ | places))


def _wall(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _make_small(to: Path) -> None:
    shared = Path(os.environ.get("ANNIDX_SHARED", Path(__file__).parents[2] / "shared"))
    found = sorted([*shared.glob("data/caltech/*/*.jpg"), *shared.glob("data/ukbench400/*.jpg")])
    if not found:
        sys.exit(f"{shared}: no data/caltech there; set ANNIDX_SHARED")
    for number, path in enumerate(found):
        start = to / f"{path.parent.name}-{path.stem}"
        shutil.copyfile(path, f"{start}-0.jpg")
        for turn in (1, 2):
            part = _crop(path, random.Random(2 * number + turn), 0.7)
            part.resize(SMALL, Image.Resampling.BICUBIC).save(f"{start}-{turn}.jpg", quality=85)


def _make_many(count: int, to: Path) -> None:
    for number in range(count):
        path = to / f"{number // 1000:03}" / f"{number:06}.jpg"
        path.parent.mkdir(exist_ok=True)
        _tiny(number).save(path)
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))


def _tiny(seed: int) -> Image.Image:
    colours = random.Random(seed).randbytes(4 * 4 * 3)
    return Image.frombytes("RGB", (4, 4), colours).resize((32, 32), Image.Resampling.BICUBIC)


def _crop(path: Path, draw: random.Random, share: float) -> Image.Image:
    """Cut that share of both sides out of a picture somewhere, and perhaps mirror it."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    width, height = round(image.width * share), round(image.height * share)
    x, y = draw.randint(0, image.width - width), draw.randint(0, image.height - height)
    part = image.crop((x, y, x + width, y + height))
    return ImageOps.mirror(part) if draw.random() < 0.5 else part


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return (done.stdout or done.stderr).partition("\n")[0]


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    text = facts.read_text(encoding="utf-8") if facts.exists() else ""
    found = re.search(r"model name\s*: (.*)", text)
    return found[1] if found else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
