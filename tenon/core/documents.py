"""YAML documents with their places: every problem can be shown as file:line:column with the line and a caret."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from tenon.core.errors import Invalid, Place, did_you_mean
from tenon.core.specs import KINDS, Spec, parse_spec
from tenon.core.tenancy import TenantId

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ENVELOPE = ("kind", "tenant")


@dataclass(frozen=True)
class Document:
    """One parsed document and where its parts stand in the source text."""

    kind: str
    spec: Spec
    tenant: TenantId | None
    file: str
    source: str = field(repr=False)
    marks: dict[tuple[Any, ...], tuple[int, int]] = field(repr=False)

    def place(self, path: list[Any] | tuple[Any, ...]) -> Place:
        """The place of the innermost part of `path` that the text has."""
        keys = tuple(path)
        while keys and keys not in self.marks:
            keys = keys[:-1]
        line, column = self.marks.get(keys, (1, 1))
        return Place(self.file, line, column, ".".join(str(part) for part in path) or None)

    def relocate(self, error: Invalid) -> Invalid:
        """The same error, pointing at this document's text."""
        problems = error.data.get("problems") or [{"path": (error.place.field or "").split(".") if error.place else []}]
        place = self.place(problems[0]["path"])
        return Invalid(error.reason, error.message, place=place, hint=error.hint, data=error.data)


class InvalidDocuments(Invalid):
    """A text with one problem or more; as an error it is the first of them."""

    def __init__(self, errors: list[Invalid]) -> None:
        first = errors[0]
        super().__init__(first.reason, first.message, place=first.place, hint=first.hint, data=first.data)
        self.errors = errors


def parse_documents(text: str, file: str) -> list[Document]:
    """Read every document of a YAML text.

    Raises `InvalidDocuments` with every problem and its place; text that is not YAML has one problem, where it breaks.
    """
    try:
        nodes: list[yaml.Node | None] = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        spot = (
            text.splitlines()[mark.line][mark.column : mark.column + 1]
            if mark and mark.line < len(text.splitlines())
            else ""
        )
        hint = "indent with spaces, not tabs" if spot == "\t" else None
        raise Invalid(
            "YAML_INVALID", f"this is not valid YAML: {err.problem or err.context}", place=place, hint=hint
        ) from None
    except yaml.YAMLError as err:
        raise Invalid(
            "YAML_INVALID", f"this is not valid YAML: {str(err).splitlines()[0]}", place=Place(file, 1, 1)
        ) from None
    documents: list[Document] = []
    errors: list[Invalid] = []
    for node in nodes:
        if node is None or (isinstance(node, yaml.ScalarNode) and node.value == "" and node.style not in ('"', "'")):
            # Nothing stands between two `---`, or after the last one.
            continue
        try:
            documents.append(_document(node, text, file))
        except InvalidDocuments as err:
            errors += err.errors
        except Invalid as err:
            errors.append(err)
    if errors:
        raise InvalidDocuments(errors)
    return documents


def _document(node: yaml.Node, text: str, file: str) -> Document:
    marks: dict[tuple[Any, ...], tuple[int, int]] = {(): (node.start_mark.line + 1, node.start_mark.column + 1)}
    data = _construct(node, (), marks, file)
    if not isinstance(data, dict):
        raise Invalid("YAML_INVALID", "a document is a map with `kind` and `name`", place=Place(file, *marks[()]))

    def refuse(path: tuple[Any, ...], message: str, hint: str | None = None) -> NoReturn:
        raise Invalid("SPEC_INVALID", message, place=Place(file, *marks.get(path, marks[()])), hint=hint)

    kind = data.get("kind")
    if kind is None:
        near = next((str(key) for key in data if did_you_mean(str(key), ["kind"])), None)
        refuse((near,) if near else (), f"unknown key {near!r}" if near else "missing key 'kind'",
               "did you mean `kind`?" if near else f"start the document with `kind: {' | '.join(KINDS)}`")  # fmt: skip
    if not isinstance(kind, str) or kind not in KINDS:
        near = did_you_mean(str(kind), KINDS)
        refuse(("kind",), f"unknown kind {kind!r}", f"did you mean `{near}`?" if near else f"kinds: {', '.join(KINDS)}")
    tenant = None
    if data.get("tenant") is not None:
        if kind == "Tenant":
            refuse(("tenant",), "a Tenant document has no `tenant` key; its name is the tenant")
        try:
            tenant = TenantId(str(data["tenant"]))
        except Invalid as err:
            refuse(("tenant",), err.message)
    body = {key: value for key, value in data.items() if key not in _ENVELOPE}
    try:
        spec = parse_spec(KINDS[kind], body)
    except Invalid as err:
        raise InvalidDocuments(
            [_located(problem, kind, err.reason, file, marks) for problem in err.data["problems"]]
        ) from None
    return Document(kind, spec, tenant, file, text, marks)


def _located(
    problem: dict[str, Any], kind: str, reason: str, file: str, marks: dict[tuple[Any, ...], tuple[int, int]]
) -> Invalid:
    """One problem of a document as an error at its place, or at the nearest part around it that the text has."""
    path = tuple(problem["path"])
    name = ".".join(str(part) for part in path)
    while path and path not in marks:
        path = path[:-1]
    message = f"{kind}: {name + ': ' if name else ''}{problem['message']}"
    return Invalid(
        reason,
        message,
        place=Place(file, *marks[path], name or None),
        hint=problem["hint"],
        data={"problems": [problem]},
    )


def _construct(node: yaml.Node, path: tuple[Any, ...], marks: dict[tuple[Any, ...], tuple[int, int]], file: str) -> Any:
    """Plain data from a node tree, noting where each key and item stands. Duplicate keys are refused."""
    if isinstance(node, yaml.MappingNode):
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node)
            spot = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if key in result:
                raise Invalid("YAML_INVALID", f"the key {key!r} is given twice", place=Place(file, *spot))
            marks[(*path, key)] = spot
            result[key] = _construct(value_node, (*path, key), marks, file)
        return result
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            marks[(*path, index)] = (item.start_mark.line + 1, item.start_mark.column + 1)
            items.append(_construct(item, (*path, index), marks, file))
        return items
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    """A scalar by the JSON types only: dates stay text, and `yes`, `no`, `on`, `off` stay text (not booleans)."""
    if not isinstance(node, yaml.ScalarNode):
        raise Invalid(
            "YAML_INVALID",
            "a key must be plain text",
            place=Place(None, node.start_mark.line + 1, node.start_mark.column + 1),
        )
    if node.tag == "tag:yaml.org,2002:bool" and node.value.lower() in ("true", "false"):
        return node.value.lower() == "true"
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if node.tag == "tag:yaml.org,2002:int" and node.value.lstrip("+-").isdecimal():
        return int(node.value)
    if node.tag == "tag:yaml.org,2002:float":
        try:
            return float(node.value)
        except ValueError:
            return node.value
    return node.value


def excerpt(text: str, place: Place) -> Iterator[str]:
    """The line of a place with a caret under its column, as two lines of text."""
    lines = text.splitlines()
    if place.line is None or not 1 <= place.line <= len(lines):
        return
    number = str(place.line)
    yield f"{number} | {lines[place.line - 1]}"
    if place.column is not None:
        yield f"{' ' * len(number)} | {' ' * (place.column - 1)}^"
