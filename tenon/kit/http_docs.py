"""The page at /docs: every route of a service, drawn from its OpenAPI document. It fetches nothing and runs nothing.

FastAPI's own page loads its script from a public CDN, so it is blank on a machine without the internet and shows our
routes to a stranger's script on one that has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
"""Content-Security-Policy of a page that carries its own style and nothing else."""

_METHODS = ("get", "post", "put", "patch", "delete")
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6575;--line:#d9dee6;--page:#fff;--tint:#f3f5f8;--get:#1b6e3c;
--post:#2166c4;--put:#7a5b00;--delete:#b3261e}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa5b4;--line:#323a46;--page:#14181f;--tint:#1c222b;
--get:#6fcf97;--post:#6aa6f2;--put:#e0bb55;--delete:#f2877f}}
body{margin:0 auto;max-width:60rem;padding:1.5rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
h1{font-size:1.35rem;margin:0 0 .3rem}h2{font-size:1rem;margin:1rem 0 .3rem}p{margin:.3rem 0}.soft{color:var(--soft)}
details{border:1px solid var(--line);border-radius:6px;margin:.4rem 0}summary{cursor:pointer;padding:.45rem .7rem}
details>div{padding:0 .9rem .7rem;border-top:1px solid var(--line)}
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:var(--tint);padding:.6rem;border-radius:4px;overflow-x:auto;margin:.3rem 0}
.m{display:inline-block;min-width:4.2em;font-weight:650}.get{color:var(--get)}.post{color:var(--post)}.put,.patch{color:var(--put)}
.delete{color:var(--delete)}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.25rem .7rem .25rem 0;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600}
"""


def render_docs(document: dict[str, Any]) -> str:
    """The page of an OpenAPI document. Everything in it is escaped."""
    info = document["info"]
    routes = [
        _route(document, path, method, operation)
        for path, operations in document.get("paths", {}).items()
        for method, operation in operations.items()
        if method in _METHODS
    ]
    return "".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<style>{_STYLE}</style></head><body><main><h1>{escape(info['title'])} {escape(info['version'])}</h1>",
            f"<p>{escape(info.get('description') or '')}</p>",
            '<p class="soft">Every route asks for <code>Authorization: Bearer KEY</code>, except '
            '<a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>, <a href="/metrics">/metrics</a>, this page and '
            '<a href="/openapi.json">/openapi.json</a>, which other tools can read. An error is '
            "<code>{error, reason, place?, hint?, request_id}</code>.</p>",
            *routes,
            "</main></body></html>",
        ]
    )


def _route(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    title = operation.get("summary", "")
    about = str(operation.get("description", ""))
    parts = [f"<p>{escape(about)}</p>" if about and about != title else "", *_parameters(document, operation)]
    body = _body(document, operation)
    if body is not None:
        parts.append(f"<h2>Body</h2><pre>{escape(body)}</pre>")
    parts.append(f"<h2>Try it</h2><pre>{escape(_curl(path, method, body=body is not None))}</pre>")
    return (
        f'<details><summary><span class="m {method}">{method.upper()}</span><code>{escape(path)}</code> '
        f'<span class="soft">{escape(title)}</span></summary><div>{"".join(parts)}</div></details>'
    )


def _parameters(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[str]:
    parameters = [_resolve(document, one) for one in operation.get("parameters", [])]
    if not parameters:
        return
    yield "<h2>Parameters</h2><table><thead><tr><th>name</th><th>in</th><th>type</th><th>about</th></tr></thead><tbody>"
    for one in parameters:
        schema = one.get("schema", {})
        about = [
            one.get("description") or "",
            f"default {json.dumps(schema['default'])}" if "default" in schema else "",
        ]
        kind = _kind(document, schema) + ("" if one.get("required") else ", optional")
        yield (
            f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}</td><td>{escape(kind)}</td>"
            f"<td>{escape('; '.join(text for text in about if text))}</td></tr>"
        )
    yield "</tbody></table>"


def _body(document: dict[str, Any], operation: dict[str, Any]) -> str | None:
    content = operation.get("requestBody", {}).get("content")
    if content is None:
        return None
    return "\n".join(
        f"{media}\n{_pretty(one['example'] if 'example' in one else _outline(document, one.get('schema', {}), 0))}"
        for media, one in content.items()
    )


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _outline(document: dict[str, Any], schema: dict[str, Any], depth: int) -> Any:
    """A schema as an example of its shape: each key with the name of its type."""
    schema = _resolve(document, schema)
    if "properties" in schema and depth < 6:
        return {name: _outline(document, one, depth + 1) for name, one in schema["properties"].items()}
    if schema.get("type") == "array" and depth < 6:
        return [_outline(document, schema.get("items", {}), depth + 1)]
    options = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    if len(options) == 1:
        return _outline(document, options[0], depth)
    return _kind(document, schema)


def _kind(document: dict[str, Any], schema: dict[str, Any]) -> str:
    schema = _resolve(document, schema)
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_kind(document, one) for one in schema["anyOf"])
    return str(schema.get("format") or schema.get("title" if "type" not in schema else "type") or "any")


def _resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema


def _curl(path: str, method: str, *, body: bool) -> str:
    path = re.sub(r"\{(\w+)\}", lambda name: name[1].upper(), path)
    verb = [f"-X {method.upper()}"] if method != "get" else []
    return " ".join(
        ["curl -s", *verb, f'"$URL{path}"', '-H "Authorization: Bearer $KEY"', *(["-d @body.json"] if body else [])]
    )
