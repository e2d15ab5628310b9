"""Checks across documents: run by the command before it sends anything, and again by the service that owns the kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from tenon.core.errors import Invalid, Place, did_you_mean
from tenon.core.expressions import names_of, parse_expression
from tenon.core.specs.condition import Condition
from tenon.core.specs.dataset import Column, ColumnType, DatasetSpec
from tenon.core.specs.feature_view import COUNTS, ONE_OF_THE_VALUES, Aggregate, Feature, FeatureViewSpec, Function
from tenon.core.specs.model import ModelSpec, Task
from tenon.core.specs.monitor import MonitorSpec


@dataclass(frozen=True, slots=True)
class Input:
    """One column a model takes. `source` is request (the caller sends it), entity or event_time (needed to look
    history up; the caller sends it), or history (fetched from features unless the caller sends it)."""

    name: str
    type: ColumnType
    source: str
    nullable: bool

    def as_dict(self) -> dict[str, Any]:
        """The input as JSON data."""
        return {"name": self.name, "type": self.type.value, "source": self.source, "nullable": self.nullable}


def check_feature_view(view: FeatureViewSpec, dataset: DatasetSpec) -> None:
    """Check a feature view against its data set. Raises `Invalid` naming the field."""
    for index, name in enumerate(view.entity):
        column = _column(dataset, name, ["entity", index])
        if column.type in (ColumnType.FLOAT, ColumnType.TIMESTAMP) or column.known_at:
            _refuse(["entity", index], f"column {name!r} cannot identify an entity: it is a {column.type.value}"
                    + (f" known only at {column.known_at}" if column.known_at else ""))  # fmt: skip
    for index, aggregate in enumerate(view.aggregates):
        _check_aggregate(aggregate, dataset, ["aggregates", index])
    for index, latest in enumerate(view.latest):
        path: list[Any] = ["latest", index, "column"]
        _check_values(latest.column, _column(dataset, latest.column, path), dataset, path)
    for index, name in enumerate(view.static):
        path = ["static", index]
        column = _column(dataset, name, path)
        _check_values(name, column, dataset, path)
        if column.known_at:
            _refuse(path, f"{name!r} is known only at {column.known_at}, so it is no fact that always holds",
                    "declare it under `latest`, which respects the time")  # fmt: skip
    texts = {feature.name for feature in view.features() if is_text(feature, dataset)}
    for name, expression in view.expressions.items():
        for read in names_of(parse_expression(expression)):
            if read in texts:
                _refuse(["expressions", name], f"{read!r} is text, and expressions are arithmetic")


def is_text(feature: Feature, dataset: DatasetSpec) -> bool:
    """Whether the feature's value is one of the texts of its column; all others are numbers."""
    return (
        feature.column is not None
        and feature.function in ONE_OF_THE_VALUES
        and dataset.columns[feature.column].type is ColumnType.STRING
    )


def _check_values(name: str, column: Column, dataset: DatasetSpec, path: list[Any]) -> None:
    if column.type is not ColumnType.STRING:
        _check_amounts(name, column, dataset, path)


def _check_aggregate(aggregate: Aggregate, dataset: DatasetSpec, path: list[Any]) -> None:
    for name, condition in (aggregate.where or {}).items():
        _check_filter(condition, name, _column(dataset, name, [*path, "where", name]), [*path, "where", name])
    if aggregate.column is None:
        return
    where = [*path, "column"]
    column = _column(dataset, aggregate.column, where)
    functions = set(aggregate.functions)
    if Function.RATE in functions:
        if aggregate.condition is not None:
            functions.remove(Function.RATE)
            _check_filter(aggregate.condition, aggregate.column, column, [*path, "condition"])
        elif aggregate.above is None and column.type is not ColumnType.BOOLEAN:
            _refuse(path, f"the rate of {aggregate.column!r} needs `above` or a `condition`: which values are counted?")
    if column.type is ColumnType.STRING:
        functions -= ONE_OF_THE_VALUES
    if not functions <= {Function.COUNT, Function.DISTINCT, Function.SINCE_LAST}:
        _check_amounts(aggregate.column, column, dataset, where)


def _check_amounts(name: str, column: Column, dataset: DatasetSpec, path: list[Any]) -> None:
    if column.type not in (ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.BOOLEAN, ColumnType.FLOAT):
        _refuse(
            path,
            f"column {name!r} is {column.type.value}; aggregates need integer, decimal, float or boolean",
            f"`count`, `distinct`, `since_last` and a `rate` with a `condition` go with a {column.type.value} too"
            + (", and so do `first` and `last`" if column.type is ColumnType.STRING else "")
            if path[0] == "aggregates"
            else f"declare it as one of these in data set {dataset.name!r}",
        )


def _check_filter(condition: Condition, name: str, column: Column, path: list[Any]) -> None:
    if column.type in (ColumnType.TIMESTAMP, ColumnType.DATE):
        _refuse(path, f"{name!r} is a {column.type.value}: conditions are on numbers, strings and booleans")
    _check_condition(condition, name, column, path)


def _check_condition(condition: Condition, name: str, column: Column, path: list[Any]) -> None:
    """A condition must fit the type of its column."""
    kind = column.type
    compared = condition.above is not None or condition.below is not None
    if compared and kind in (ColumnType.STRING, ColumnType.BOOLEAN):
        _refuse(path, f"{name!r} is a {kind.value}: only `in` can be asked of it")
    wanted = {ColumnType.STRING: str, ColumnType.BOOLEAN: bool}.get(kind, float)
    for value in condition.one_of or []:
        if type(value) is not wanted:
            words = {str: "text", bool: "true or false", float: "a number"}[wanted]
            _refuse(path, f"{name!r} is a {kind.value}, so `in` lists {words}, not {value!r}")


def check_model(model: ModelSpec, spine: DatasetSpec, views: Mapping[str, FeatureViewSpec]) -> None:
    """Check a model against its spine and the tenant's views. Raises `Invalid` naming the field.

    Here leaks are refused: a request feature must be known at the event time, and the label must not be.
    """
    for index, name in enumerate(model.features.request):
        path: list[Any] = ["features", "request", index]
        column = _column(spine, name, path)
        if name == model.label.column:
            _refuse(path, f"{name!r} is the label; it cannot be a request feature")
        if column.known_at is not None:
            _refuse(
                path,
                f"{name!r} leaks: it is known only at {column.known_at!r}, after the prediction is asked for",
                f"remove it from features.request, or aggregate it in a FeatureView, which respects {column.known_at!r}",
            )
        if column.type in (ColumnType.TIMESTAMP, ColumnType.DATE):
            _refuse(path, f"{name!r} is a {column.type.value}; a model learns from numbers, strings and booleans",
                    "add a column such as month or hour to the data set")  # fmt: skip
    label = _column(spine, model.label.column, ["label", "column"])
    if label.known_at is None:
        _refuse(
            ["label", "column"],
            f"label {model.label.column!r} has no knownAt in data set {spine.name!r}, so nothing says when it may be used",
            f"add `knownAt: <timestamp column>` to {spine.name}.{model.label.column}",
        )
    numeric = label.type in (ColumnType.INTEGER, ColumnType.FLOAT, ColumnType.DECIMAL)
    if model.task is Task.BINARY and not (
        label.type is ColumnType.BOOLEAN or (numeric and model.label.above is not None)
    ):
        _refuse(
            ["label"],
            f"a binary label is a boolean column, or a number with `above`; {model.label.column!r} is {label.type.value}",
        )
    if model.task is Task.REGRESSION and not numeric:
        _refuse(["label", "column"], f"a regression label is a number; {model.label.column!r} is {label.type.value}")
    _check_rules(model, spine)
    for index, name in enumerate(model.features.views):
        path = ["features", "views", index]
        if name not in views:
            near = did_you_mean(name, views)
            _refuse(path, f"there is no feature view {name!r}", f"did you mean `{near}`?" if near else None)
        for entity in views[name].entity:
            if entity not in spine.columns:
                _refuse(path, f"view {name!r} is by {entity!r}, which the spine {spine.name!r} does not have")


def _check_rules(model: ModelSpec, spine: DatasetSpec) -> None:
    """The conditions of the fallback's rules must fit the types of their columns."""
    for index, step in enumerate(model.fallback.steps if model.fallback else []):
        for place, case in enumerate(step.rule or []):
            for name, condition in case.when.items():
                path: list[Any] = ["fallback", "steps", index, "rule", place, "when", name]
                _check_condition(condition, name, _column(spine, name, path), path)


def model_signature(
    model: ModelSpec,
    spine: DatasetSpec,
    views: Mapping[str, FeatureViewSpec],
    sources: Mapping[str, DatasetSpec] | None = None,
) -> list[Input]:
    """What the model takes, in a fixed order: request columns, history features, then the entity columns and the
    event time that are needed to fetch the history and are not request columns already. `sources` are the data sets of the
    views by name, which say what is text."""
    datasets = {spine.name: spine} | dict(sources or {})
    inputs = [
        Input(name, spine.columns[name].type, "request", spine.columns[name].nullable)
        for name in model.features.request
    ]
    lookups: dict[str, Input] = {}
    for view_name in model.features.views:
        view = views[view_name]
        for feature in view.features():
            kind = ColumnType.INTEGER if feature.function in COUNTS else ColumnType.FLOAT
            if view.dataset in datasets and is_text(feature, datasets[view.dataset]):
                kind = ColumnType.STRING
            inputs.append(Input(feature.reference, kind, "history", nullable=True))
        for name in view.entity:
            if name not in model.features.request:
                lookups[name] = Input(name, spine.columns[name].type, "entity", nullable=True)
    if model.features.views:
        lookups[spine.event_time] = Input(spine.event_time, ColumnType.TIMESTAMP, "event_time", nullable=True)
    return [*inputs, *lookups.values()]


def check_monitor(monitor: MonitorSpec, model: ModelSpec, columns: Sequence[str]) -> None:
    """Check a Monitor document against its model, whose inputs are `columns`. Raises `Invalid` naming the field."""
    for where, names in (("slices", monitor.slices), ("alerts.ignore", monitor.alerts.ignore)):
        for index, name in enumerate(names):
            if name not in columns:
                near = did_you_mean(name, columns)
                _refuse([*where.split("."), index], f"model {model.name!r} has no column {name!r}",
                        f"did you mean `{near}`?" if near else f"its columns: {', '.join(columns)}")  # fmt: skip
    if monitor.value is not None and monitor.value.task is not model.task:
        wanted = (
            "`perUnitOfError`" if model.task is Task.REGRESSION else "`perTruePositive`, `perFalsePositive` and so on"
        )
        _refuse(["value"], f"it prices the answers of task {monitor.value.task.value}; the task of model {model.name!r} is "
                f"{model.task.value}", f"give {wanted}")  # fmt: skip


def _column(dataset: DatasetSpec, name: str, path: list[Any]) -> Column:
    if name not in dataset.columns:
        near = did_you_mean(name, dataset.columns)
        _refuse(path, f"data set {dataset.name!r} has no column {name!r}", f"did you mean `{near}`?" if near else None)
    return dataset.columns[name]


def _refuse(path: list[Any], message: str, hint: str | None = None) -> NoReturn:
    where = ".".join(str(part) for part in path)
    raise Invalid(
        "SPEC_INVALID", f"{where}: {message}", place=Place(field=where), hint=hint,
        data={"problems": [{"path": path, "message": message, "hint": hint}]},
    )  # fmt: skip
