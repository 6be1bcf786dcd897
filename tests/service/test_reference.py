"""annidx.service.reference: /docs names every route, and nothing in it runs."""

from __future__ import annotations

import re

from annidx.service.reference import page
from tests.service.serving import Served

DOCUMENT = {
    "info": {"title": "<script>", "version": '"><b>'},
    "paths": {"/<i>": {"get": {"description": "</p><script>", "responses": {}}}},
    "components": {"schemas": {"'<img>": {"enum": ["<svg onload=x>"]}}},
}


def test_every_route_is_on_the_page_and_in_the_document(served: Served) -> None:
    document = served.get("/openapi.json").json()
    text = served.get("/docs").text
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"<h2>{method.upper()} {path}</h2>" in text
    assert {"/v1/query", "/v1/query/batch", "/v1/snapshot", "/readyz"} <= set(document["paths"])


def test_the_page_loads_and_runs_nothing(served: Served) -> None:
    text = served.get("/docs").text
    assert re.findall(r"<(script|style|img|link|iframe)|\bsrc=|\bon\w+=", text) == []
    assert set(re.findall(r'href="([^"]*)"', text)) == {"/openapi.json"}


def test_text_is_escaped() -> None:
    text = page(DOCUMENT)
    assert re.findall(r"<(script|b|i|img|svg)\b", text) == []
    assert "&lt;svg onload=x&gt;" in text
