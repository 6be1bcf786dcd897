"""One tree of errors; a class owns its exit code (command line) and its HTTP status (service).

Each error is also the built-in that fits, so that callers who do not know annidx can catch it.
A message says what, where, what was expected, what was found and what to do next.
"""


class AnnidxError(Exception):
    """Anything that annidx refuses or cannot do; the message is meant for the user."""

    exit_code = 1
    http_status = 500


class UsageError(AnnidxError, ValueError):
    """An argument that has no meaning: unknown metric, negative cutoff, k below 1."""

    exit_code = 2
    http_status = 422


class FolderNotFound(AnnidxError, FileNotFoundError):
    """A root that does not exist or is not a folder."""

    exit_code = 1
    http_status = 404


class PictureUnreadable(AnnidxError, ValueError):
    """A query picture that is missing, empty, not a picture or damaged.

    Parameters
    ----------
    message : str
        What is wrong, with the path in it.
    status : str
        One of :data:`annidx.model.STATUSES`.
    """

    exit_code = 1
    http_status = 415

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class PictureNotFound(AnnidxError, LookupError):
    """There is no picture of that number, or no upload of that key."""

    exit_code = 1
    http_status = 404


class IndexNotFound(AnnidxError, FileNotFoundError):
    """There is no index, or none with a snapshot, at the place that was named."""

    exit_code = 10
    http_status = 503


class IndexLocked(AnnidxError, BlockingIOError):
    """Another writer holds the lock of the index."""

    exit_code = 11
    http_status = 503


class IndexDamaged(AnnidxError, ValueError):
    """A file of the index is not what the manifest says it is."""

    exit_code = 12
    http_status = 503


class FileDamaged(IndexDamaged):
    """A file that a manifest names is missing, or is not what it was.

    Parameters
    ----------
    message : str
    path : str
    expected, found : str
        A SHA-256 in hex, a size, or words.
    """

    def __init__(self, message: str, path: str, expected: str, found: str) -> None:
        super().__init__(message)
        self.path, self.expected, self.found = path, expected, found


class IndexTooNew(AnnidxError, ValueError):
    """The index was written by a newer annidx in a format that this one cannot read."""

    exit_code = 13
    http_status = 503


class PublishRefused(AnnidxError, RuntimeError):
    """So much is gone from a root that something else must be wrong; the old snapshot stays."""

    exit_code = 14
    http_status = 409


class ActionRefused(AnnidxError, RuntimeError):
    """What might cost a picture, or cannot be undone; nothing was changed."""

    exit_code = 1
    http_status = 409


class WorkerError(AnnidxError, RuntimeError):
    """A bug, not a bad picture: a worker's function raised, or no worker starts."""

    exit_code = 1
