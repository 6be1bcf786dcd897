"""/docs: the OpenAPI document as a page that loads nothing and runs nothing.

FastAPI's own page gets its scripts from elsewhere, which the Content-Security-Policy forbids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse


def install(app: FastAPI) -> None:
    """Add /docs to an application."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))


def page(document: Mapping[str, Any]) -> str:
    """Return an OpenAPI document as HTML; all of its text is escaped."""
    told = document["info"]
    title = escape(f"{told['title']} {told['version']}")
    parts = [
        "<!doctype html>",
        f'<html lang="en"><meta charset="utf-8"><title>{title}</title>',
        f"<h1>{title}</h1><p>{escape(told.get('summary', ''))}",
        '<p>The same for programs: <a href="/openapi.json">openapi.json</a>',
    ]
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            parts += _operation(path, method, told)
    schemas = document.get("components", {}).get("schemas", {})
    for name, schema in schemas.items():
        parts.append(f'<h3 id="{escape(name)}">{escape(name)}</h3>{_pre(schema)}')
    return "\n".join(parts) + "</html>\n"


def _operation(path: str, method: str, told: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>{escape(method.upper())} {escape(path)}</h2>"
    yield f"<p>{escape(told.get('description', ''))}"
    for each in told.get("parameters", ()):
        yield f"<p>{escape(each['in'])} <b>{escape(each['name'])}</b>{_pre(each['schema'])}"
    for kind, body in told.get("requestBody", {}).get("content", {}).items():
        yield f"<p>body, {escape(kind)}{_pre(body['schema'])}"
    yield "<ul>"
    for status, answer in told["responses"].items():
        yield f"<li>{escape(str(status))}: {escape(answer['description'])}"
    yield "</ul>"


def _pre(schema: Any) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=1))}</pre>"
