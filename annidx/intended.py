"""What an index is to hold from now on: as asked, as an interrupted build did, as the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from annidx.descriptors import DEFAULT_DESCRIPTORS, chosen, default_metric
from annidx.errors import UsageError
from annidx.options import Options
from annidx.store.manifest import Manifest


def descriptors(options: Options, was: Manifest, left: Sequence[str]) -> tuple[str, ...]:
    """Return the descriptors to compute.

    Parameters
    ----------
    options : Options
    was : Manifest
        The snapshot before.
    left : Sequence of str
        Those that an interrupted build was to compute.

    Raises
    ------
    UsageError
        When one is unknown, or the thumb is missing.
    """
    asked = options.descriptors
    remembered = left or tuple(was.descriptors) or DEFAULT_DESCRIPTORS
    return chosen(remembered if asked is None else asked)


def is_outdated(was: Manifest, versions: Mapping[str, int]) -> bool:
    """Tell whether all pictures must be read anew.

    Vectors of another version are never compared: nothing of the old segments can stay.
    """
    have = was.descriptors
    differs = any(have.get(name) != version for name, version in versions.items())
    return bool(was.segments) and differs


def graph_metrics(options: Options, was: Manifest, names: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics to make graphs for; the index must hold their descriptors, `names`.

    Raises
    ------
    UsageError
        When it does not hold one that is asked for.
    """
    wanted = options.graph_metrics
    remembered = [name for name in was.graph_metrics if name in names]
    for name in wanted or ():
        if name not in names:
            held = ", ".join(names)
            message = f"no graph for {name}: the index holds {held} (see --descriptors)"
            raise UsageError(message)
    return tuple(sorted({default_metric(names), *(remembered if wanted is None else wanted)}))


def exclude(options: Options, was: Manifest, left: Sequence[str]) -> tuple[str, ...]:
    """Return the globs to leave out; an empty one, asked for, forgets those before."""
    globs = (left or was.exclude) if options.exclude is None else options.exclude
    return tuple(glob for glob in globs if glob)
