"""The options of the verbs that search: each is declared once, and given on if it was given.

A verb names the options that its search takes (a TypedDict of :mod:`annidx.asking`), and gets all
of them and no other.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, get_args

from annidx.asking import CHANCES, MAX_PAIRS, Filter, K, Near, PixelSize, Turns, Views
from annidx.commands.common import byte_count, comma_separated
from annidx.descriptors import DESCRIPTORS
from annidx.errors import UsageError
from annidx.kinds import DUPLICATES, KINDS
from annidx.model import Choice, Linkage

_UNSET: Any = argparse.SUPPRESS  # so that what was not given has the default of the API
_FILTER = "filter_"


def add_search_options(parser: argparse.ArgumentParser, *kinds: Any) -> None:
    """Add the options of one or several searches.

    Parameters
    ----------
    parser : ArgumentParser
    kinds
        Each a TypedDict of :mod:`annidx.asking`.
    """
    wanted = {name for kind in kinds for name in kind.__annotations__}
    for title, options in _GROUPS.items():
        chosen = [name for name in options if name in wanted]
        if chosen:
            group = parser.add_argument_group(title)
            for name in chosen:
                options[name](group)


def search_options(args: argparse.Namespace, kind: Any, *, otherwise: str = "") -> dict[str, Any]:
    """Return the options that were given, for a call of the API.

    Parameters
    ----------
    args : Namespace
    kind : a TypedDict of :mod:`annidx.asking`
    otherwise : str
        Said of an option that the parser took and this kind does not.

    Raises
    ------
    UsageError
        For such an option.
    """
    names = [name for options in _GROUPS.values() for name in options]
    given = {name: getattr(args, name) for name in names if hasattr(args, name)}
    fields = {
        name.removeprefix(_FILTER): value
        for name, value in vars(args).items()
        if name.startswith(_FILTER)
    }
    if fields:
        given["where"] = Filter(**fields)
    for name in given:
        if name not in kind.__annotations__:
            message = f"--{name.replace('_', '-')} {otherwise}"
            raise UsageError(message)
    return given


Group = argparse._ArgumentGroup


def _metric(group: Group) -> None:
    names = ", ".join(DESCRIPTORS)
    group.add_argument(
        "--metric",
        default=_UNSET,
        metavar="NAME",
        help=f"one of {names} that the index holds (default: fingerprint if it does; thumb with "
        "a --cutoff or --transforms)",
    )


def _cutoff(group: Group) -> None:
    defaults = ", ".join(f"{each.name} {each.cutoff:g}" for each in DESCRIPTORS.values())
    group.add_argument(
        "--cutoff",
        type=float,
        default=_UNSET,
        metavar="D",
        help=f"inclusive distance limit (defaults: {defaults})",
    )


def _match(group: Group) -> None:
    presets = "; ".join(
        f"{each.name} " + ", ".join(f"{cutoff:g}" for cutoff in each.presets.values())
        for each in DESCRIPTORS.values()
    )
    group.add_argument(
        "--match",
        choices=get_args(Near),
        default=_UNSET,
        help="a cutoff by name; exact: the same file but for its metadata; strict keeps to copies, "
        f"normal is the default, loose errs at times: {presets}",
    )


def _k(group: Group) -> None:
    group.add_argument(
        "-k",
        type=int,
        default=_UNSET,
        metavar="N",
        help=f"at most N pictures a query (default {K})",
    )


def _limit(group: Group) -> None:
    group.add_argument(
        "--limit",
        type=int,
        default=_UNSET,
        metavar="N",
        help="at most N results in all, the nearest ones",
    )


def _transforms(group: Group) -> None:
    group.add_argument(
        "--transforms",
        choices=get_args(Turns),
        default=_UNSET,
        help="also what is near to the FILE when it is flipped, turned by 90, 180 or 270 degrees, "
        "or both; each match says how (default none)",
    )


def _views(group: Group) -> None:
    group.add_argument(
        "--views",
        choices=get_args(Views),
        default=_UNSET,
        help="what metric fingerprint tries: fast the pictures as they are; default also flips and "
        "turns, and crops; thorough also turned crops",
    )


def _fpr(group: Group) -> None:
    group.add_argument(
        "--fpr",
        type=float,
        default=_UNSET,
        metavar="RATE",
        help="metric fingerprint: share of unrelated pairs that may match, such as 1e-9",
    )


def _false_pairs(group: Group) -> None:
    group.add_argument(
        "--false-pairs",
        type=float,
        default=_UNSET,
        metavar="N",
        help="metric fingerprint: as many false pairs as this archive may be expected to have "
        f"(default {CHANCES['normal']:g})",
    )


def _cutoff_from(group: Group) -> None:
    group.add_argument(
        "--cutoff-from",
        type=int,
        default=_UNSET,
        metavar="SNAPSHOT",
        help="metric fingerprint: chance as it was measured for that snapshot, so that the same "
        "pairs match however the archive has grown since",
    )


def _kinds(group: Group) -> None:
    group.add_argument(
        "--kind",
        type=comma_separated,
        dest="kinds",
        default=_UNSET,
        metavar="KINDS",
        help=f"only {', '.join(KINDS)} ones; several with commas. What is no copy is told apart by "
        "metric fingerprint: edited is one exposure, same-scene another one. groups then join only "
        f"{', '.join(DUPLICATES)} ones by default",
    )


def _where(group: Group) -> None:
    """Add one option for each field of a filter."""
    group.add_argument(
        "--path",
        action="append",
        dest=f"{_FILTER}paths",
        default=_UNSET,
        metavar="GLOB",
        help="by the file's name ('*.jpg'); with a / by its path, or that of a folder with all "
        "beneath it (2019/, ~/Photos/2019, 'trips/**/IMG*.jpg'); * stays within a name, ** does "
        "not; several times: any of them",
    )
    _add_filter(group, "min_bytes", "--min-size", "SIZE", byte_count, "files of 100kB, 2MB or more")
    _add_filter(
        *(group, "min_pixels", "--min-pixels", "N|WxH", _pixels),
        "pictures of N pixels (300000, 2M) or more, or of W x H or more, either way up",
    )
    group.add_argument(
        "--pixel-size",
        choices=get_args(PixelSize),
        dest=f"{_FILTER}pixel_size",
        default=_UNSET,
        help="only where both pictures have the same width and height, or do not",
    )
    _add_filter(
        *(group, "formats", "--picture-format", "NAMES", comma_separated),
        "by content: JPEG,PNG,HEIF,..., or RAW for all camera RAW",
    )
    text = "taken {} TIME by the camera's clock: 2019, 2019-08, 2019-08-22, 2019-08-22T18:30"
    _add_filter(group, "taken_from", "--taken-from", "TIME", str, text.format("at or after"))
    _add_filter(group, "taken_until", "--taken-until", "TIME", str, text.format("until the end of"))


def _add_filter(
    group: Group, field: str, option: str, shown: str, read: Callable[[str], Any], text: str
) -> None:
    group.add_argument(
        option, dest=f"{_FILTER}{field}", type=read, default=_UNSET, metavar=shown, help=text
    )


def _companions(group: Group) -> None:
    group.add_argument(
        "--with-companions",
        dest="companions",
        action="store_true",
        default=_UNSET,
        help="also a RAW file and the JPEG or HEIC of its stem in its folder, which are left out "
        "otherwise",
    )


def _decided(group: Group) -> None:
    group.add_argument(
        "--decided",
        action="store_true",
        default=_UNSET,
        help='also pairs that "annidx decide --not-duplicate" has set apart, which are left out '
        "otherwise",
    )


def _between(group: Group) -> None:
    group.add_argument(
        "--between",
        nargs=2,
        default=_UNSET,
        metavar=("DIR_A", "DIR_B"),
        help="only a picture below DIR_A with one below DIR_B",
    )


def _reference(group: Group) -> None:
    group.add_argument(
        "--reference",
        action="append",
        default=_UNSET,
        metavar="DIR",
        help="a protected folder: its pictures are not compared with each other, and in groups "
        "they count as none that could be freed; several times: all of them",
    )


def _since(group: Group) -> None:
    group.add_argument(
        "--since",
        default=_UNSET,
        metavar="DATE",
        help="new pictures, first seen by a build since then, against all: 2026-11-01, "
        "2026-11-01T18:30 (local time), or how long ago: 12h, 7d, 2w",
    )


def _linkage(group: Group) -> None:
    group.add_argument(
        "--linkage",
        choices=get_args(Linkage),
        default=_UNSET,
        help="the rule that makes groups of pairs (default connected)",
    )


def _unconfirmed(group: Group) -> None:
    group.add_argument(
        "--unconfirmed",
        action="store_true",
        default=_UNSET,
        help="also join by pairs whose signatures differ, as those of pages of writing on like "
        "paper do",
    )


def _exact(group: Group) -> None:
    group.add_argument(
        "--exact",
        action="store_true",
        default=_UNSET,
        help="compare with every picture: no graph, no pruning; slow, the ground truth",
    )


def _engine(group: Group) -> None:
    group.add_argument(
        "--engine",
        choices=get_args(Choice),
        default=_UNSET,
        help="what searches; auto (the default) takes the cheaper, the answer says which ran",
    )


def _max_pairs(group: Group) -> None:
    group.add_argument(
        "--max-pairs",
        type=int,
        default=_UNSET,
        metavar="N",
        help="refuse when there are more pairs, beforehand when an estimate leaves no doubt "
        f"(default {MAX_PAIRS:,})",
    )


def _pixels(text: str) -> int | tuple[int, int]:
    """Read a number of pixels, or two sides: 300000, 2M, 1.5MP, 640x480."""
    sides = re.fullmatch(r"(\d+)x(\d+)", text.strip(), re.IGNORECASE)
    if sides:
        return int(sides[1]), int(sides[2])
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kM]?)(?:P|px)?", text.strip(), re.IGNORECASE)
    if found is None:
        message = f"{text}: expected pixels, such as 640x480, 300000 or 2M"
        raise argparse.ArgumentTypeError(message)
    return int(float(found[1]) * {"": 1, "k": 1000, "m": 10**6}[found[2].lower()])


_GROUPS: dict[str, dict[str, Callable[[Group], None]]] = {
    "how near": {
        "metric": _metric,
        "cutoff": _cutoff,
        "match": _match,
        "k": _k,
        "limit": _limit,
        "transforms": _transforms,
        "views": _views,
        "fpr": _fpr,
        "false_pairs": _false_pairs,
        "cutoff_from": _cutoff_from,
    },
    "which pictures": {
        "kinds": _kinds,
        "where": _where,
        "companions": _companions,
        "decided": _decided,
    },
    "which pairs": {"between": _between, "reference": _reference, "since": _since},
    "what makes a group": {"linkage": _linkage, "unconfirmed": _unconfirmed},
    "how it is searched": {"engine": _engine, "exact": _exact, "max_pairs": _max_pairs},
}
"""Every option by its name in the API, in the order of the help text."""
