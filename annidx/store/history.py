"""The snapshots of an index: listed, restored, pruned, verified; files that none names, swept."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from annidx.errors import FileDamaged, IndexDamaged, UsageError
from annidx.store import files, identity, snapshot
from annidx.store.manifest import Manifest
from annidx.store.sealed import Sealed

KEEP = 3
"""prune keeps so many of the newest snapshots."""

KEEP_S = 24 * 3600.0
"""prune also keeps the snapshots that are younger, in seconds."""


_HASH = re.compile(r"[0-9a-f]{64}")
_CLOCK_S = 3600.0  # two machines' clocks may differ


@dataclass(frozen=True, slots=True)
class Listed:
    """One manifest of an index.

    Attributes
    ----------
    path : Path
    number : int
    manifest : Manifest or None
        None when it is damaged.
    damage : str
        What is wrong with the manifest; empty when it is whole.
    """

    path: Path
    number: int
    manifest: Manifest | None
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What prune removed, or would remove.

    Attributes
    ----------
    kept, removed : Sequence of int
        Numbers of snapshots, ascending.
    broken : Sequence of int
        Those of the removed ones that were not whole.
    bytes_freed : int
    """

    kept: Sequence[int]
    removed: Sequence[int]
    broken: Sequence[int]
    bytes_freed: int


def listing(index: Path) -> list[Listed]:
    """Return all manifests of an index, lowest number first.

    Raises
    ------
    IndexNotFound, IndexTooNew, IndexDamaged
    """
    return whatever_it_is(index, identity.index_id(index))


def whatever_it_is(index: Path, known_id: str = "") -> list[Listed]:
    """Return all manifests in a folder, whatever its ``annidx.json`` says.

    Those of another index than `known_id` are damaged; empty: of any.

    Raises
    ------
    IndexTooNew
    """
    found = []
    for path in files.manifest_paths(index):
        try:
            manifest = snapshot.read_manifest(path, known_id)
        except FileNotFoundError:  # pruned meanwhile
            continue
        except PermissionError:  # nobody knows what it names
            raise
        except (IndexDamaged, OSError) as error:
            found.append(Listed(path, int(path.stem), None, str(error)))
        else:
            found.append(Listed(path, manifest.number, manifest))
    return found


def named(index: Path, manifest: Manifest) -> dict[Path, tuple[str, int | None]]:
    """Return the SHA-256 and the size (if known) of each file that a manifest names."""
    paths: dict[Path, tuple[str, int | None]] = {
        snapshot.segment_path(index, entry): (entry.sha256, entry.size)
        for entry in manifest.segments
    }
    for graph in manifest.graphs:
        for path, sha256, size in snapshot.graph_files(index, graph):
            paths[path] = sha256, size
    return paths


def roll_back(index: Path, created: str, number: int | None = None) -> Manifest:
    """Publish an earlier snapshot once more, as the next number; only under the writer's lock.

    Parameters
    ----------
    index : Path
    created : str
        UTC, ISO 8601.
    number : int, optional
        By default the one before the current one (or before what that one restored).

    Raises
    ------
    UsageError
        When there is no such snapshot.
    IndexDamaged
        When a file of it is damaged: nothing is published.
    """
    whole = {each.number: each.manifest for each in listing(index) if each.manifest}
    if not whole:
        message = f"{index}: there is no snapshot to go back to"
        raise UsageError(message)
    current = whole[max(whole)]
    before = [each for each in whole if each < (current.restores or current.number)]
    wanted = max(before, default=0) if number is None else number
    if wanted not in whole:
        there = ", ".join(map(str, sorted(whole)))
        what = f"snapshot {wanted}" if wanted else "snapshot before the current one"
        message = f"{index}: there is no {what}; there are: {there} (annidx snapshots)"
        raise UsageError(message)
    old = whole[wanted]
    for path, (sha256, size) in named(index, old).items():
        Sealed(path, sha256, size, "Choose another snapshot (annidx snapshots).").check()
    restored = replace(
        old,
        # Numbers are never used twice, not even those of pictures that are gone again.
        next_image_id=max(each.next_image_id for each in whole.values()),
        next_root_id=max(each.next_root_id for each in whole.values()),
        created=created,
    )
    return snapshot.publish(index, restored, restores=old.restores or old.number)


def prune(
    index: Path,
    now_s: float,
    *,
    keep: int = KEEP,
    keep_s: float = KEEP_S,
    dry_run: bool = False,
) -> Pruned:
    """Remove old snapshots and the files that no other one names; only under the writer's lock.

    The current snapshot always stays. Of the others those go that are not whole.

    Parameters
    ----------
    index : Path
    now_s : float
        Seconds since 1970.
    keep : int
        So many of the newest stay.
    keep_s : float
        Those younger than this stay as well.
    dry_run : bool
        Only say what would go.
    """
    listed = listing(index)
    manifests = [each.manifest for each in listed if each.manifest]
    if not manifests:
        return Pruned([], [], [], 0)
    current = manifests[-1]
    files_of = {each.number: named(index, each) for each in manifests}
    whole = [
        each
        for each in manifests
        if each is current
        or not any(_damage_of(path, *facts) for path, facts in files_of[each.number].items())
    ]
    kept = {each.number for each in (whole[-keep:] if keep > 0 else [])} | {current.number}
    kept |= {each.number for each in whole if _age_s(each, now_s) < keep_s}
    # What a build that did not end went on from: the next one tells from it what is news.
    kept |= {each.number for each in whole if each.number == current.interim_of}
    gone = [each for each in listed if not (each.manifest and each.number in kept)]
    needed = {path for number in kept for path in files_of[number]}
    freed = _size([each.path for each in gone])
    freed += _size(path for path in _sealed_files(index) if path not in needed)
    if not dry_run:
        if gone:
            files.remove([each.path for each in gone], index / "snapshots")
        sweep(index)
    are_whole = {each.number for each in whole}
    removed = [each.number for each in gone]
    return Pruned(sorted(kept), removed, sorted(set(removed) - are_whole), freed)


def sweep(index: Path) -> None:
    """Remove what crashed builds left; only under the writer's lock.

    While a manifest is damaged, or there is none, nobody knows what is needed: then only ``tmp/``
    is swept.
    """
    for path in files.listed(index / "tmp"):
        files.discard(path)
    found = whatever_it_is(index)
    if not found or any(each.manifest is None for each in found):
        return
    needed = {path for each in found if each.manifest for path in named(index, each.manifest)}
    for path in _sealed_files(index):
        if path not in needed:
            files.discard(path)


def verify(index: Path) -> Iterator[FileDamaged | None]:
    """Hash every file that any snapshot names; yield the damage of each, None for a whole one.

    Raises
    ------
    IndexNotFound, IndexTooNew
    """
    known_id = ""
    try:
        known_id = identity.index_id(index)
        yield None
    except IndexDamaged as error:
        yield _damage(index / "annidx.json", str(error))
    if not files.manifest_paths(index) and (loss := snapshot.lost_manifests(index)):
        yield _damage(index / "snapshots", loss)
    checked: set[Path] = set()
    for each in whatever_it_is(index, known_id):
        if each.manifest is None:
            cure = 'Run "annidx build": it goes on from the newest whole one.'
            yield _damage(each.path, f"{each.damage}. {cure}")
            continue
        yield None
        for path, (sha256, size) in named(index, each.manifest).items():
            if path in checked:
                continue
            damage = _damage_of(path, sha256, size, anew=True)
            if damage and not each.path.exists():  # pruned meanwhile, and then its files
                break
            checked.add(path)
            yield damage
    for path in _sealed_files(index):  # of a damaged manifest, or left over: its name is its hash
        if path in checked or not _HASH.fullmatch(path.stem):
            continue
        damage = _damage_of(path, path.stem, None, anew=True)
        if damage and path.exists():
            yield damage


def _damage_of(
    path: Path, sha256: str, size: int | None, *, anew: bool = False
) -> FileDamaged | None:
    cure = 'Run "annidx build": it mends what the current snapshot needs.'
    try:
        Sealed(path, sha256, size, cure).check(anew=anew)
    except FileDamaged as error:
        return error
    except OSError as error:
        message = f"{path}: cannot be opened ({error.strerror}). {cure}"
        return FileDamaged(message, str(path), sha256, "unreadable")
    return None


def _damage(path: Path, message: str) -> FileDamaged:
    return FileDamaged(message, str(path), "a checksum that fits", "another")


def _age_s(manifest: Manifest, now_s: float) -> float:
    """Return how long ago a snapshot was made; one of the future, by a wrong clock, is old."""
    try:
        age = now_s - datetime.fromisoformat(manifest.created).timestamp()
    except ValueError:  # `roots add` said nothing once
        return float("inf")
    return age if age > -_CLOCK_S else float("inf")


def _sealed_files(index: Path) -> list[Path]:
    return [path for name in ("segments", "graphs") for path in files.listed(index / name)]


def _size(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total
