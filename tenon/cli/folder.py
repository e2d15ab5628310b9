"""A folder of documents: read, expanded to tenants, and checked against each other before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from tenon.cli.failures import BadFile, BadUsage
from tenon.core.documents import Document, parse_documents
from tenon.core.errors import Invalid, NotFound, Place, TenonError, did_you_mean
from tenon.core.specs import (
    DatasetSpec,
    FeatureViewSpec,
    ModelSpec,
    MonitorSpec,
    Spec,
    check_feature_view,
    check_model,
    check_monitor,
    model_signature,
)

ORDER = ("Tenant", "Dataset", "FeatureView", "Model", "Monitor")
"""The order in which kinds are applied: each needs only what comes before it."""

NOUNS = {
    "Tenant": "tenant",
    "Dataset": "data set",
    "FeatureView": "feature view",
    "Model": "model",
    "Monitor": "monitor",
}


@dataclass(frozen=True)
class Item:
    """One document for one tenant."""

    kind: str
    tenant: str
    name: str
    document: Document = field(repr=False)

    @property
    def spec(self) -> Spec:
        """What is declared."""
        return self.document.spec

    @property
    def label(self) -> str:
        """How the item is called on the screen."""
        return f"{self.kind} {self.name}" if self.kind == "Tenant" else f"{self.kind} {self.tenant}/{self.name}"


class FolderErrors(Exception):
    """Everything that is wrong in a folder."""

    def __init__(self, errors: list[TenonError], files: int) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors, self.files = errors, files


Fetch = Callable[[str, str, str], Spec]
"""Gets a document that the folder does not have from the platform: (kind, tenant, name). Raises `NotFound`."""


def read_documents(files: list[Path]) -> list[Document]:
    """Every document of some files. Raises `FolderErrors` with every problem found."""
    documents: list[Document] = []
    errors: list[TenonError] = []
    for file in files:
        text = None
        try:
            text = file.read_bytes().decode("utf-8-sig")
            documents += parse_documents(text, str(file))
        except UnicodeDecodeError as err:
            errors.append(BadFile("FILE_UNREADABLE", f"this is not UTF-8 text (byte {err.start})", place=Place(file=str(file)),
                                  hint=f"iconv -f latin1 -t utf-8 {file} > {file.with_suffix('.utf8.yaml')}"))  # fmt: skip
        except OSError as err:
            errors.append(
                BadFile("FILE_UNREADABLE", f"the file cannot be read: {err.strerror}", place=Place(file=str(file)))
            )
        except Invalid as err:
            errors += [_with_source(one, text, str(file)) for one in getattr(err, "errors", [err])]
        except RecursionError:
            errors.append(
                BadFile(
                    "YAML_INVALID",
                    "this is nested too deeply to be a document",
                    place=Place(str(file), 1, 1),
                    source=text,
                )
            )
    if not errors and not documents:
        errors.append(BadFile("NO_DOCUMENTS", "there is no document in it", place=Place(file=str(files[0])),
                              hint=f"start one with `kind: {' | '.join(ORDER)}`"))  # fmt: skip
    if errors:
        raise FolderErrors(errors, len(files))
    return documents


def expand(documents: Iterable[Document], tenant: str | None, only_tenant: Callable[[], str]) -> list[Item]:
    """Documents as items, one for each tenant they are for, in the order of application.

    A document without `tenant` is for every Tenant document of the folder, or for `tenant` alone when that is given.
    One that names its tenant goes before a general one of the same kind and name. `only_tenant` is asked when the
    folder has no Tenant document.
    """
    documents = list(documents)
    declared = [document.spec.name for document in documents if document.kind == "Tenant"]
    general = [document for document in documents if document.kind != "Tenant" and document.tenant is None]
    targets = [tenant] if tenant else (declared or ([only_tenant()] if general else []))
    chosen: dict[tuple[str, str, str], Item] = {}
    errors: list[TenonError] = []
    for document in documents:
        if document.kind == "Tenant":
            owners = [document.spec.name]
        elif document.tenant is not None:
            owners = [document.tenant.value]
        else:
            owners = targets
        for owner in owners:
            if tenant is not None and owner != tenant:
                continue
            key = (document.kind, owner, document.spec.name)
            earlier = chosen.get(key)
            if earlier is not None and (earlier.document.tenant is None) == (document.tenant is None):
                errors.append(_twice(document, earlier.document))
                break
            if earlier is None or document.tenant is not None:
                chosen[key] = Item(document.kind, owner, document.spec.name, document)
    if errors:
        raise FolderErrors(errors, len({document.file for document in documents}))
    if tenant is not None and not chosen:
        near = did_you_mean(tenant, declared)
        raise BadUsage(f"no document here is for tenant {tenant!r}",
                       hint=f"did you mean `--tenant {near}`?" if near else f"tenants here: {', '.join(declared)}")  # fmt: skip
    return sorted(chosen.values(), key=lambda item: (ORDER.index(item.kind), item.tenant, item.name))


def check_items(items: list[Item], fetch: Fetch | None) -> None:
    """Check documents against each other, and against the platform's where the folder lacks one.

    With `fetch` None only what the folder itself can answer is checked: nothing needs to run for that. Raises
    `FolderErrors`, each error once, pointing at the text.
    """
    errors: dict[tuple[str, str], TenonError] = {}
    specs = {(item.kind, item.tenant, item.name): item.spec for item in items}

    def lookup(kind: str, tenant: str, name: str) -> Spec | None:
        found = specs.get((kind, tenant, name))
        if found is None and fetch is not None:
            found = specs[kind, tenant, name] = fetch(kind, tenant, name)
        return found

    for item in items:
        try:
            _check(item, lookup, _names(items, item.tenant))
        except Invalid as err:
            located = _with_source(item.document.relocate(err), item.document.source, item.document.file)
            errors.setdefault((str(located.place), located.message), located)
    if errors:
        raise FolderErrors(list(errors.values()), len({item.document.file for item in items}))


def _check(item: Item, lookup: Callable[[str, str, str], Spec | None], here: Mapping[str, list[str]]) -> None:
    spec = item.spec
    if isinstance(spec, FeatureViewSpec):
        dataset = _find(lookup, "Dataset", item.tenant, spec.dataset, ["dataset"], here)
        if dataset is not None:
            check_feature_view(spec, cast("DatasetSpec", dataset))
    elif isinstance(spec, ModelSpec):
        spine = _find(lookup, "Dataset", item.tenant, spec.spine, ["spine"], here)
        views = {
            name: _find(lookup, "FeatureView", item.tenant, name, ["features", "views", index], here)
            for index, name in enumerate(spec.features.views)
        }
        if spine is not None and None not in views.values():
            check_model(spec, cast("DatasetSpec", spine), cast("dict[str, FeatureViewSpec]", views))
    elif isinstance(spec, MonitorSpec):
        model = _find(lookup, "Model", item.tenant, spec.name, ["name"], here)
        columns = None if model is None else _inputs(cast("ModelSpec", model), item.tenant, lookup)
        if columns is not None:
            check_monitor(spec, cast("ModelSpec", model), columns)


def _inputs(model: ModelSpec, tenant: str, lookup: Callable[[str, str, str], Spec | None]) -> list[str] | None:
    """The columns a model takes; None when a document it stands on is not at hand (which is said of the model)."""
    try:
        spine = lookup("Dataset", tenant, model.spine)
        views = {name: lookup("FeatureView", tenant, name) for name in model.features.views}
        if spine is None or None in views.values():
            return None
        inputs = model_signature(model, cast("DatasetSpec", spine), cast("dict[str, FeatureViewSpec]", views))
    except (NotFound, KeyError):
        return None
    return [one.name for one in inputs]


def _find(
    lookup: Callable[[str, str, str], Spec | None],
    kind: str,
    tenant: str,
    name: str,
    path: list[str | int],
    here: Mapping[str, list[str]],
) -> Spec | None:
    try:
        return lookup(kind, tenant, name)
    except NotFound as err:
        where = ".".join(str(part) for part in path)
        message = f"{where}: there is no {NOUNS[kind]} {name!r}"
        near = did_you_mean(name, here.get(kind, []))
        hint = f"did you mean `{near}`?" if near else (err.hint or f"add a {kind} document named {name}")
        raise Invalid("SPEC_INVALID", message, place=Place(field=where), hint=hint,
                      data={"problems": [{"path": path, "message": message, "hint": hint}]}) from None  # fmt: skip


def _names(items: list[Item], tenant: str) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for item in items:
        if item.tenant == tenant:
            names.setdefault(item.kind, []).append(item.name)
    return names


def _twice(document: Document, earlier: Document) -> BadFile:
    return BadFile(
        "DECLARED_TWICE",
        f"{document.kind} {document.spec.name!r} is declared twice; the other one is at {earlier.place(('name',))}".removesuffix(
            ": name"
        ),
        place=document.place(("name",)),
        hint="rename one, or give each its own `tenant:`",
        source=document.source,
    )


_WAY_OUT = re.compile(r"; (?=did you mean|use |write |choose |name |drop |add |give |declare )|: (?=use |write )")
"""Checks inside a document say what is wrong and what would be right in one text; here it becomes the hint."""


_NOT_ONE_OF = re.compile(r"'(\w+)' is not one of (.*)")
_SYNONYMS = {
    "avg": "mean", "average": "mean", "maximum": "max", "minimum": "min", "number": "float", "double": "float", "real": "float",
    "int": "integer", "bigint": "integer", "int64": "integer", "varchar": "string", "text": "string", "str": "string",
    "char": "string", "bool": "boolean", "datetime": "timestamp", "time": "timestamp", "numeric": "decimal", "money": "decimal",
    "classification": "binary", "classifier": "binary", "regressor": "regression", "lightgbm": "xgboost", "sklearn": "logistic",
    "neural_network": "mlp", "perceptron": "mlp", "tabnet": "mlp",
}  # fmt: skip
"""Words of other tools for our values."""
_FALLBACKS = {
    "YAML_INVALID": "compare with a folder that `tenon init` makes; values with `: ` or `#` need quotes",
    "SPEC_INVALID": "`tenon schema` says what is allowed; `tenon init` makes a folder to compare with",
}
"""The way out where the error itself has none."""


def _with_source(error: Invalid, source: str | None, file: str) -> BadFile:
    place = error.place or Place()
    line, column = place.line, place.column
    lines = (source or "").splitlines()
    if line is not None and lines and line > len(lines):
        # The parser noticed at the very end; there is no line there to show.
        line, column = len(lines), len(lines[-1]) + 1
    message, hint = error.message, error.hint
    if hint is None and (found := _WAY_OUT.search(message)):
        message, hint = message[: found.start()], message[found.end() :]
    if hint is None and (wrong := _NOT_ONE_OF.search(message)):
        meant = _SYNONYMS.get(wrong[1].lower(), "")
        hint = f"did you mean `{meant}`?" if f"'{meant}'" in wrong[2] else f"choose from {wrong[2]}"
    if hint is None:
        kind = message.partition(":")[0]
        hint = f"`tenon schema {kind}` says what is allowed" if kind in ORDER else _FALLBACKS.get(error.reason)
    located = Place(place.file or file, line, column, place.field)
    return BadFile(error.reason, message, place=located, hint=hint, data=error.data, source=source)
