"""What is known of a set of pictures: which pairs are true, which are false, of which sort each is.

A folder of pictures holds truth.csv with the columns file, group and role. Two files of one group
are a true pair, any other two a false one; but a group named "a+b" is related to the groups a and b
of its folder, which is neither. Where a group has a file of the role "orig", the other roles of it
are names of edits; elsewhere a role is a class, without the number behind it ("variant-3").
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Relation = Literal["true", "related", "false"]
Part = tuple[str, str]  # a set, and what a picture is in it
Label = tuple[str, Relation]  # two parts in words, and what the pictures are to each other

RELATIONS: tuple[Relation, ...] = get_args(Relation)
COLUMNS = {"file", "group", "role"}
ORIGINAL, OTHER, EDIT = "orig", "other", "edit"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a picture; its group is one of its set."""

    path: Path
    set: str
    group: str
    role: str

    @property
    def whole_group(self) -> tuple[str, str]:
        """The group among those of all sets."""
        return self.set, self.group


class Truth:
    """What is known of all pictures, which are numbered in the order given.

    Parameters
    ----------
    pictures : Sequence of Known

    Attributes
    ----------
    number : dict of str to int
        Of a picture, by its path.
    groups : (n,) intp
        The same number for the pictures of a group.
    related : (r, 2) intp
        Pairs that are neither true nor false, the lower number first.
    true, false : int
        How many pairs there are.
    edits : dict of str to list of (int, int)
        Original and edit by the name of the edit.
    """

    def __init__(self, pictures: Sequence[Known]) -> None:
        self.pictures = pictures
        self.number = {str(each.path): at for at, each in enumerate(pictures)}
        members: dict[tuple[str, str], list[int]] = defaultdict(list)
        for at, each in enumerate(pictures):
            members[each.whole_group].append(at)
        self.groups: npt.NDArray[np.intp] = np.zeros(len(pictures), np.intp)
        for code, rows in enumerate(members.values()):
            self.groups[rows] = code
        met = {
            (min(pair), max(pair))
            for (name, group), rows in members.items()
            for part in (group.split("+") if "+" in group else ())
            for pair in product(rows, members.get((name, part), ()))
        }
        self.related = np.array(sorted(met), np.intp).reshape(-1, 2)
        self._related = met
        self.true = sum(pairs_of(len(rows)) for rows in members.values())
        self.false = pairs_of(len(pictures)) - self.true - len(met)
        self._originals = {
            each.whole_group: at for at, each in enumerate(pictures) if each.role == ORIGINAL
        }
        self.edits: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for at, each in enumerate(pictures):
            if self.is_edit(at):
                self.edits[each.role].append((self._originals[each.whole_group], at))

    def __len__(self) -> int:
        return len(self.pictures)

    def is_edit(self, at: int) -> bool:
        """Tell whether a picture is an edit of an original that is there."""
        known = self.pictures[at]
        return known.role != ORIGINAL and known.whole_group in self._originals

    def relation(self, one: int, other: int) -> Relation:
        """Return what two pictures are to each other."""
        if self.groups[one] == self.groups[other]:
            return "true"
        return "related" if (min(one, other), max(one, other)) in self._related else "false"

    def part(self, at: int) -> Part:
        """Return the set of a picture and its class in it; all edits are one class."""
        known = self.pictures[at]
        return known.set, EDIT if self.is_edit(at) else re.sub(r"-\d+$", "", known.role)

    def label(self, one: int, other: int) -> Label:
        """Return which sort of pair two pictures are."""
        return words(self.part(one), self.part(other)), self.relation(one, other)

    def possible(self) -> Counter[Label]:
        """Return how many pairs there are of each sort."""
        parts = [self.part(at) for at in range(len(self))]
        found: Counter[Label] = Counter()
        for text, count in _pairs_by_sort(parts):
            found[text, "false"] += count
        for group in self._by_group(parts):
            for text, count in _pairs_by_sort(group):
                found[text, "true"] += count
                found[text, "false"] -= count
        for one, other in self._related:
            text = words(parts[one], parts[other])
            found[text, "related"] += 1
            found[text, "false"] -= 1
        return +found

    def _by_group(self, parts: Sequence[Part]) -> Iterator[list[Part]]:
        groups: dict[int, list[Part]] = defaultdict(list)
        for group, part in zip(self.groups.tolist(), parts, strict=True):
            groups[group].append(part)
        yield from groups.values()


def _pairs_by_sort(parts: Sequence[Part]) -> Iterator[tuple[str, int]]:
    sizes = Counter(parts)
    for one, other in combinations_with_replacement(sorted(sizes), 2):
        count = sizes[one] * sizes[other] if one != other else pairs_of(sizes[one])
        yield words(one, other), count


def pairs_of(count: int) -> int:
    """Return how many pairs so many pictures make."""
    return count * (count - 1) // 2


def words(one: Part, other: Part) -> str:
    """Return two parts in words, the same in either order."""
    first, second = sorted((one, other))
    if first[0] == second[0]:
        return f"{first[0]}: {first[1]} + {second[1]}"
    return f"{first[0]}: {first[1]} + {second[0]}: {second[1]}"


def read(folders: Sequence[Path]) -> Truth:
    """Read truth.csv of each folder, whose names have to differ.

    Raises
    ------
    OSError
        When there is no truth.csv.
    ValueError
        When it has not the columns, names what is not there, or names a picture twice; when two
        files of the same bytes are in different groups, as in sets made from the same photos.
    """
    pictures = [known for folder in folders for known in _read_one(folder.resolve())]
    sets = [folder.resolve().name for folder in folders]
    again = [name for name in sets if sets.count(name) > 1]
    if again:
        message = f"two folders are called {again[0]}: rename one, or name it once"
        raise ValueError(message)
    seen: dict[bytes, Known] = {}
    for known in pictures:
        first = seen.setdefault(sha256(known.path.read_bytes()).digest(), known)
        if known is not first and known.path == first.path:
            message = f"{known.path} is named twice: a file has one row"
            raise ValueError(message)
        if known.whole_group != first.whole_group:
            message = (
                f"{known.path} and {first.path} have the same bytes and different groups: correct "
                "truth.csv; sets made from the same photos are measured one at a time"
            )
            raise ValueError(message)
    return Truth(pictures)


def _read_one(folder: Path) -> Iterator[Known]:
    file = folder / "truth.csv"
    with file.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        missing = COLUMNS - set(reader.fieldnames or ())
        if missing:
            message = f"{file}: no column {', '.join(sorted(missing))}"
            raise ValueError(message)
        for row in reader:
            path = (folder / row["file"]).resolve()
            if not path.is_file():
                message = f"{file} names {row['file']}, which is not there"
                raise ValueError(message)
            yield Known(path, folder.name, row["group"], row["role"])
