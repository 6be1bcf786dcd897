"""Is it alive, is it fresh, what does it serve: /livez, /readyz, /metrics, snapshot and reload."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from annidx.service import documents, problems
from annidx.service.documents import problems as documented
from annidx.service.holder import Held
from annidx.service.running import Service, in_thread, json_response, pool_figures
from annidx.service.searching import IndexName

PROMETHEUS = "text/plain; version=0.0.4"


def router(service: Service) -> APIRouter:
    """Return the routes that tell of the service itself."""
    routes = APIRouter(tags=["service"])

    @routes.get("/livez", response_model=documents.Status, responses=documented())
    async def livez() -> Response:
        """Tell that the service answers at all."""
        return json_response({"status": "ok"})

    @routes.get("/readyz", response_model=documents.Status, responses=documented(503))
    async def readyz() -> Response:
        """Tell whether all indexes are open, and brought up to date within --max-age."""
        reasons = list(filter(None, map(_reason, service.holder.held.values())))
        if reasons:
            return problems.response(503, "; ".join(reasons))
        return json_response({"status": "ok"})

    def _reason(held: Held) -> str:
        """Say why an index is not ready; empty when it is. Nothing of paths: anybody may ask."""
        most = service.settings.max_age_s
        if not held.is_loaded:
            return f"index {held.name} is not loaded yet"
        if most is not None and (since := held.unverified_s()) > most:
            return f"index {held.name} was checked {since:.0f} s ago, more than {most:.0f} s"
        return ""

    @routes.get(
        "/metrics",
        responses={200: {"content": {"text/plain": {}}}, **documented()},
        response_class=Response,
    )
    async def metrics() -> Response:
        """Return what Prometheus reads."""
        text = service.measures.text(service.holder.held.values(), pool_figures(service))
        return Response(text, media_type=PROMETHEUS)

    @routes.get(
        "/v1/snapshot",
        response_model=documents.SnapshotAnswer,
        responses=documented(404, 422, 503),
    )
    async def snapshot(index: IndexName = None) -> Response:
        """Tell which snapshot answers, and what it holds."""
        held = service.holder.of(index)
        return json_response({**_snapshot_fields(held), "indexes": list(service.holder.held)})

    @routes.post(
        "/v1/reload",
        response_model=documents.ReloadAnswer,
        responses=documented(404, 422, 503),
    )
    async def reload(index: IndexName = None) -> Response:
        """Open the newest snapshot now, without waiting for the next look at the folder."""
        held = service.holder.of(index)
        reloaded = await in_thread(held.load)
        fields = {"index": held.name, "snapshot": held.index.manifest.number}
        return json_response({**fields, "reloaded": reloaded})

    return routes


def _snapshot_fields(held: Held) -> dict[str, Any]:
    index = held.index
    manifest = index.manifest
    return {
        "index": held.name,
        "snapshot": manifest.number,
        "created": manifest.created,
        "age_seconds": round(held.age_s(), 3),
        "walked_seconds_ago": round(held.unverified_s(), 3),
        "pictures": len(index),
        "descriptors": dict(manifest.descriptors),
        "graphs": [
            {
                "metric": graph.metric,
                "nodes": graph.nodes,
                "recall": graph.recall,
                "recall_low": graph.recall_low,
                "recall_high": graph.recall_high,
                "usable": graph.usable,
            }
            for graph in manifest.graphs
        ],
    }
