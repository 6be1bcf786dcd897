"""What a build may be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a build.

    Attributes
    ----------
    exclude : Sequence of str, optional
        Globs to leave out; None: those remembered from the last build.
    graph_metrics : Sequence of str, optional
        Metrics to make graphs for; the default metric always has one. None: as last time.
    workers : int, optional
        Worker processes and graph threads; None: the processors of this machine.
    timeout_s : float
        For one picture; large ones get more, see :func:`annidx.images.extract.time_limit`.
    memory : int, optional
        Bytes that the pictures being decoded may take, all workers together; a picture that needs
        more is 'too-large'. None: 700 MB and 150 MB for each worker but one.
    max_megapixels : float, optional
        A picture with more is 'too-large'. None: 400.
    descriptors : Sequence of str, optional
        Descriptors to compute; 'thumb' is always among them. None: as last time, at first
        :data:`annidx.descriptors.DEFAULT_DESCRIPTORS`.
    lock_wait_s : float
        How long to wait for another build to end.
    rebuild : bool
        Extract everything anew; also what mends a damaged index.
    retry_failed : bool
        Look again at files that could not be read, though they have not changed.
    rebuild_graphs : bool
        Make all graphs anew.
    min_recall : float
        Share of the pairs under the default cutoff that a graph has to find, 0 to 1; one whose
        measured interval lies wholly under it is made anew, or not used.
    max_removed : int or str, optional
        How many pictures a root may lose in one build, or which share such as '5%'; more is
        refused. None: 100 or 1 %, whichever is more.
    force : bool
        Publish whatever is lost.
    """

    exclude: Sequence[str] | None = None
    graph_metrics: Sequence[str] | None = None
    workers: int | None = None
    timeout_s: float = 60.0
    memory: int | None = None
    max_megapixels: float | None = None
    descriptors: Sequence[str] | None = None
    lock_wait_s: float = 0.0
    rebuild: bool = False
    rebuild_graphs: bool = False
    retry_failed: bool = False
    min_recall: float = 0.999
    max_removed: int | str | None = None
    force: bool = False
