"""Builds the OpenAPI 3.1 document and its readable page from the declared routes."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from workbench.accounts.roles import PERMISSIONS
from workbench.core.errors import OpenAIProblem, Problem
from workbench.core.routes import ANYONE, Route

Mode = Literal["validation", "serialization"]
REF = "#/components/schemas/{model}"


def document(routes: Sequence[Route[Any]], version: str, base_url: str) -> dict[str, Any]:
    """Describe every route; WebSockets appear as GETs that answer 101, with their messages under `x-messages`."""
    inputs = [TypeAdapter(model) for route in routes for model in (route.body, route.query) if model is not None]
    entries: list[tuple[int, Mode, TypeAdapter[Any]]]
    entries = [(index, "serialization", route.adapter) for index, route in enumerate(routes)]
    entries += [(len(routes) + index, "validation", adapter) for index, adapter in enumerate(inputs)]
    schemas, definitions = TypeAdapter.json_schemas(entries, ref_template=REF)
    _, problem = models_json_schema([(Problem, "serialization"), (OpenAIProblem, "serialization")], ref_template=REF)
    components = definitions.get("$defs", {}) | problem["$defs"]
    paths: dict[str, Any] = {}
    for index, route in enumerate(routes):
        returns = schemas[(index, "serialization")]
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route, returns)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Workbench", "version": version},
        "servers": [{"url": base_url.rstrip("/") or "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def operation(route: Route[Any], returns: dict[str, Any]) -> dict[str, Any]:
    """Describe one route."""
    summary = (route.endpoint.__doc__ or "").strip() if route.endpoint else ""
    described: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.name.partition(".")[0]],
        "summary": summary,
        "description": _permission(route.permission),
        "parameters": [*_path_parameters(route), *_query_parameters(route.query)],
        "responses": _responses(route, returns),
    }
    if route.idempotent:
        described["parameters"].append({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}})
    if route.permission == ANYONE:
        described["security"] = []
    if route.body is not None:
        schema = {"$ref": REF.format(model=route.body.__name__)}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if route.kind == "upload":
        described["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    if route.kind == "socket":
        described["x-messages"] = returns
    return described


def _permission(name: str | None) -> str:
    if name == ANYONE:
        return "For everyone."
    return f"Permission: `{name}` ({PERMISSIONS[name]})." if name is not None else "For every known caller."


def _responses(route: Route[Any], returns: dict[str, Any]) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": REF.format(model="Problem")}}}
    if route.errors == "openai":
        problem = {"application/json": {"schema": {"$ref": REF.format(model="OpenAIProblem")}}}
    answers: dict[str, Any] = {"default": {"description": "A problem", "content": problem}}
    if route.kind == "socket":
        answers["101"] = {"description": "Switching to a WebSocket of JSON messages"}
    elif route.kind == "download":
        answers["200"] = {"description": "A file", "content": {"application/octet-stream": {}}}
    elif route.kind == "events":
        content = {"application/json": {"schema": returns}, "text/event-stream": {"schema": returns}}
        answers["200"] = {"description": "A document, or a stream of them", "content": content}
    elif route.status == 204:
        answers["204"] = {"description": "Done"}
    else:
        answers[str(route.status)] = {"description": "OK", "content": {"application/json": {"schema": returns}}}
    return answers


def _path_parameters(route: Route[Any]) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in route.parameters]


def _query_parameters(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=REF)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in schema["properties"].items()
    ]


def page(spec: dict[str, Any]) -> str:
    """Render the document as one self-contained HTML page."""
    rows = "".join(
        f"<tr><td><code>{html.escape(method.upper())}</code></td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(details['summary'])}<br><small>{html.escape(details['description'])}</small></td></tr>"
        for path, methods in sorted(spec["paths"].items())
        for method, details in methods.items()
    )
    style = (
        ":root{color-scheme:light dark}body{font:15px/1.5 system-ui;margin:2rem auto;max-width:70rem;padding:0 1rem}"
        "table{border-collapse:collapse;width:100%}td{border-top:1px solid #8886;padding:.4rem;vertical-align:top}"
    )
    title = f"Workbench API {html.escape(spec['info']['version'])}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{style}</style><h1>{title}</h1>"
        f"<p>The machine-readable form is <a href='openapi.json'>openapi.json</a> (OpenAPI 3.1).</p>"
        f"<table>{rows}</table></html>"
    )
