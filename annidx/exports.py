"""What an export holds: the pictures of a snapshot, or the answer to a search, as rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annidx.descriptors import DESCRIPTORS, descriptor
from annidx.fields import looked_at, path_fields
from annidx.found import Answer, Group, Groups, Pair, Pairs
from annidx.model import IGNORED
from annidx.store.listing import export_files
from annidx.store.snapshot import Snapshot
from annidx.store.tables import GROUPS, NEAR_PAIRS, PAIRS, Export, export_rows


def pictures(opened: Snapshot, *, descriptors: bool = False) -> Export:
    """Return the readable pictures of a snapshot, one row each.

    Parameters
    ----------
    opened : Snapshot
    descriptors : bool
        Also the stored bytes of all descriptors that the index holds.
    """
    held = [name for name in DESCRIPTORS if name in opened.manifest.descriptors]
    names = held if descriptors else []
    facts = _facts("pictures", opened.manifest.number)
    return export_files(opened, opened.pictures, descriptors=names, metadata=facts)


def failed(opened: Snapshot) -> Export:
    """Return the files of a snapshot that could not be read, one row each."""
    facts = _facts("failed", opened.manifest.number)
    return export_files(opened, opened.other, passed_over=IGNORED, metadata=facts)


def of_answer(found: Pairs | Groups) -> Export:
    """Return pairs, one row each, or groups, one row a picture; in their order."""
    if isinstance(found, Pairs):
        schema = PAIRS if descriptor(found.answer.metric).needs else NEAR_PAIRS
        return export_rows(schema, map(pair_fields, found), _searched("pairs", found.answer))
    rows = (row for group in found for row in _members(group))
    return export_rows(GROUPS, rows, _searched("groups", found.answer))


def pair_fields(pair: Pair) -> dict[str, Any]:
    """Return the fields of a pair in JSON and exports."""
    return {
        **path_fields("a", pair.raw_a),
        **path_fields("b", pair.raw_b),
        "distance": pair.distance,
        "metric": pair.metric,
        "kind": pair.kind,
        "low_information": pair.low_information,
        **looked_at(pair),
    }


def _members(group: Group) -> Iterator[dict[str, Any]]:
    shared = {
        "group": group.number,
        "linkage": group.linkage,
        "metric": group.metric,
        "group_size": len(group.raw_paths),
        "diameter": group.diameter,
        "weakest": group.weakest,
        "freed_bytes": group.freed_bytes,
    }
    for path, size in zip(group.raw_paths, group.sizes, strict=True):
        protected = path in group.protected
        yield {**shared, **path_fields("path", path), "size": size, "protected": protected}


def _facts(what: str, snapshot: int) -> dict[str, str]:
    return {"annidx_export": what, "snapshot": str(snapshot)}


def _searched(what: str, answer: Answer) -> dict[str, str]:
    searched = {"metric": answer.metric, "cutoff": f"{answer.cutoff:g}"}
    return {**_facts(what, answer.snapshot), **searched}
