"""``annidx.json``: that a folder is an index, of which format, and which one it is.

Written once, when the index is made. Every manifest names the same id, so that a file that came
from another index is told from one of its own, and so that a damaged ``annidx.json`` can be mended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from pathlib import Path

from annidx.errors import IndexDamaged, IndexNotFound, IndexTooNew
from annidx.store import files
from annidx.store.manifest import FORMAT, is_flipped, too_new_message

_CURE = 'Run "annidx build" to mend it.'


def index_id(index: Path) -> str:
    """Check that `index` is an index that this annidx can read; return its id.

    Raises
    ------
    IndexNotFound, IndexTooNew
    IndexDamaged
        When ``annidx.json`` is not what was written, or is missing beside manifests.
    """
    where = _where(index)
    try:
        fields = json.loads(files.read_file(where))
        found, name = fields["format"], str(fields.get("index_id", ""))
    except FileNotFoundError:
        if files.manifest_paths(index):
            message = f"{where}: is missing, though there are manifests. {_CURE}"
            raise IndexDamaged(message) from None
        message = f'{index}: there is no index here. Run "annidx build FOLDER" first.'
        raise IndexNotFound(message) from None
    except NotADirectoryError:
        message = f"{index}: not a folder, so no index is in it."
        raise IndexNotFound(message) from None
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"{where}: cannot be read ({type(error).__name__}: {error}). {_CURE}"
        raise IndexDamaged(message) from None
    if not isinstance(found, int):
        message = f"{where}: its format is {found!r}, a number was expected. {_CURE}"
        raise IndexDamaged(message)
    flipped = is_flipped(found) and fields.get("checksum") == _checksum(FORMAT, name)
    if found > FORMAT and not flipped:
        raise IndexTooNew(too_new_message(str(where), found))
    expected = fields.get("checksum", _checksum(found, name))
    if expected != _checksum(found, name):
        what = f"its checksum is {expected}, its content gives {_checksum(found, name)}"
        message = f"{where}: {what}. {_CURE}"
        raise IndexDamaged(message)
    return name


def create(index: Path) -> None:
    """Make an empty index, or leave the one that is there.

    Raises
    ------
    IndexTooNew, IndexDamaged
    IndexNotFound
        When the folder exists and holds something else.
    """
    if index.is_symlink() and not index.exists():
        message = f"{index}: a symbolic link that leads nowhere. Name another folder with --index."
        raise IndexNotFound(message)
    if _where(index).exists():
        index_id(index)
    # The folders alone are what a build leaves that was killed right at its start.
    known = (*files.FOLDERS, *files.BESIDE)
    foreign = not index.is_dir() or any(each.name not in known for each in index.iterdir())
    if index.exists() and not _where(index).exists() and foreign:
        message = f"{index}: exists and is no index. Name an empty or a new folder with --index."
        raise IndexNotFound(message)
    files.make_folders(index)
    if not (_where(index).exists() or files.manifest_paths(index)):
        with contextlib.suppress(FileExistsError):  # another process was quicker
            files.write_new(_where(index), _content(secrets.token_hex(16)), index)


def mend(index: Path, known_id: str) -> None:
    """Write ``annidx.json`` anew; only the holder of the lock may call it.

    Parameters
    ----------
    index : Path
    known_id : str
        What the manifests name; empty when there are none, for a new id.
    """
    staged = files.staging_path(index, ".json")
    with files.create_file(staged) as handle:
        handle.write(_content(known_id or secrets.token_hex(16)))
    files.put(staged, _where(index))


def _where(index: Path) -> Path:
    return index / "annidx.json"


def _content(name: str) -> bytes:
    fields = {"format": FORMAT, "index_id": name, "checksum": _checksum(FORMAT, name)}
    return json.dumps(fields).encode() + b"\n"


def _checksum(version: object, name: str) -> str:
    return hashlib.sha256(f"{version} {name}".encode()).hexdigest()
