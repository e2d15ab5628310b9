"""What all kinds of document share: strict keys in camelCase, a name, and one canonical form."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from tenon.core.errors import Invalid, Place, did_you_mean
from tenon.core.names import ResourceName


class Strict(BaseModel):
    """A part of a document: unknown keys are refused, names are camelCase outside and snake_case inside."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, frozen=True)


class Spec(Strict):
    """A whole document. `kind` and `tenant` belong to the envelope and are not part of it."""

    KIND: ClassVar[str] = ""

    name: ResourceName = Field(description="The name, unique among the tenant's documents of this kind.")
    description: str = Field(default="", max_length=2000, description="For people; has no effect.")

    def canonical(self) -> dict[str, Any]:
        """The document as JSON data with defaults left out: equal documents have equal forms."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


S = TypeVar("S", bound=Spec)

KINDS: dict[str, type[Spec]] = {}
"""Every kind of document by name; filled by `register`."""


def register(cls: type[S]) -> type[S]:
    """Make a kind known to `parse_spec`."""
    KINDS[cls.KIND] = cls
    return cls


def spec_digest(spec: Spec) -> str:
    """The sha256 (hex) of a document's canonical form; two documents that mean the same have the same digest."""
    text = json.dumps(spec.canonical(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def parse_spec(cls: type[S], data: object) -> S:
    """Read a document from JSON-like data.

    Raises `Invalid` with the first problem; `data["problems"]` lists all of them as
    {"path": [...], "message", "hint"}, so that a caller with the source text can point at each.
    """
    try:
        return cls.model_validate(data)
    except ValidationError as err:
        # A misspelt key is both unknown and missing; the unknown one is what the reader can see.
        errors = sorted(err.errors(include_url=False), key=lambda error: error["type"] != "extra_forbidden")
        problems = [_problem(cls, error) for error in errors]
        meant = {(*found["path"][:-1], found["hint"][14:-2]) for found in problems if _is_typo(found)}
        problems = [found for found in problems if tuple(found["path"]) not in meant]
        first = problems[0]
        path = ".".join(str(part) for part in first["path"])
        raise Invalid(
            "SPEC_INVALID",
            f"{cls.KIND}: {path + ': ' if path else ''}{first['message']}",
            place=Place(field=path or None),
            hint=first["hint"],
            data={"problems": problems},
        ) from None


def _is_typo(problem: dict[str, Any]) -> bool:
    return problem["message"].startswith("unknown key") and (problem["hint"] or "").startswith("did you mean `")


def _problem(cls: type[Spec], error: Any) -> dict[str, Any]:
    path = [part for part in error["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    message, hint = error["msg"].removeprefix("Value error, "), None
    if error["type"] == "value_error":
        # Checks across keys know better than pydantic where the problem stands: they begin with `key.key: `.
        where, colon, rest = message.partition(": ")
        keys: list[Any] = [int(key) if key.isdigit() else key for key in where.split(".")]
        if colon and " " not in where and keys[0] in _keys_at(cls, path):
            path, message = [*path, *keys], rest
        return {"path": path, "message": message, "hint": None}
    if error["type"] == "extra_forbidden":
        message = f"unknown key {str(path[-1])!r}"
        known = _keys_at(cls, path[:-1])
        near = did_you_mean(str(path[-1]), known)
        hint = f"did you mean `{near}`?" if near else (f"known keys: {', '.join(sorted(known))}" if known else None)
    elif error["type"] == "missing":
        message = f"missing key {str(path[-1])!r}"
    elif error["type"] == "literal_error" or error["type"] == "enum":
        expected = error["ctx"].get("expected", "")
        message = f"{error['input']!r} is not one of {expected}"
        near = did_you_mean(
            str(error["input"]), [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
        )
        hint = f"did you mean `{near}`?" if near else None
    elif error["type"] == "string_pattern_mismatch":
        letters = "letters" if "A-Z" in error["ctx"]["pattern"] else "lower-case letters"
        message = f"{error['input']!r} is not a valid name: use {letters}, digits and underscores"
    elif "input" in error and not isinstance(error["input"], dict | list):
        message = f"{message[0].lower()}{message[1:]}, not {error['input']!r}"
    return {"path": path, "message": message, "hint": hint}


def _keys_at(cls: type[BaseModel], path: list[Any]) -> list[str]:
    """The keys a document may have at a path (through lists and maps of parts)."""
    model: Any = cls
    for part in path:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            model = _part_of(model)
            continue
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        if field is None:
            return []
        model = field.annotation
    model = _part_of(model)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _part_of(annotation: Any) -> Any:
    """The document part inside a container or an optional, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _part_of(inner)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return annotation
