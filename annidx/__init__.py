"""annidx finds near-duplicate pictures in photo archives of thousands to millions of images.

Examples
--------
>>> import annidx, pathlib, tempfile
>>> from PIL import Image
>>> folder = pathlib.Path(tempfile.mkdtemp())
>>> picture = Image.linear_gradient("L")
>>> picture.save(folder / "a.png")
>>> picture.resize((128, 128)).save(folder / "b.png")
>>> report = annidx.build([folder], index=folder / "photos.annidx")
>>> report.images
2
>>> index = annidx.open(folder / "photos.annidx")
>>> [match.path == str(folder / "b.png") for match in index.query(folder / "a.png", cutoff=100)]
[True]
>>> index.pairs(cutoff=100).num_rows
1
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from annidx.api import build, default_index, open, prune, rollback
    from annidx.asking import Filter
    from annidx.errors import AnnidxError
    from annidx.found import Group, Groups, Match, Matches, Pair, Pairs
    from annidx.index import Index
    from annidx.options import Options

__version__ = "0.1.0"

# PEP 562: nothing heavy is imported before it is used, so that `annidx --help` stays quick.
_WHERE = {
    "AnnidxError": "annidx.errors",
    "Filter": "annidx.asking",
    "Group": "annidx.found",
    "Groups": "annidx.found",
    "Index": "annidx.index",
    "Match": "annidx.found",
    "Matches": "annidx.found",
    "Options": "annidx.options",
    "Pair": "annidx.found",
    "Pairs": "annidx.found",
    "build": "annidx.api",
    "default_index": "annidx.api",
    "open": "annidx.api",
    "prune": "annidx.api",
    "rollback": "annidx.api",
}

__all__ = [
    "AnnidxError",
    "Filter",
    "Group",
    "Groups",
    "Index",
    "Match",
    "Matches",
    "Options",
    "Pair",
    "Pairs",
    "__version__",
    "build",
    "default_index",
    "open",
    "prune",
    "rollback",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        message = f"module 'annidx' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
