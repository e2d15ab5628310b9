"""Upgrades without downtime: migrations only add to what the program of before uses, or say whom they end."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tenon.kit.sql import needed_by

ROOT = Path(__file__).parents[3]
SERVICES = sorted(path.parent.name for path in ROOT.glob("services/*/migrations"))
ADDING = frozenset({"create_table", "create_index", "add_column"})


def objections(source: str) -> list[str]:
    """What in a migration's `upgrade` would disturb a program that does not know of it."""
    found = []
    for upgrade in (
        node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "upgrade"
    ):
        new = {str(_value(call.args[0])) for call in _calls(upgrade) if _name(call) == "create_table"}
        for call in _calls(upgrade):
            name = _name(call)
            where = f"line {call.lineno}: op.{name}"
            if name not in ADDING:
                found.append(f"{where} does more than add")
            elif name == "add_column" and str(_value(call.args[0])) not in new:
                options = {item.arg: _value(item.value) for item in _column(call).keywords}
                if options.get("nullable", True) is not True and "server_default" not in options:
                    found.append(
                        f"{where}: programs that do not know the column cannot insert; give it a server_default"
                    )
            elif name == "create_index" and any(item.arg == "unique" and _value(item.value) for item in call.keywords):
                table = str(_value(call.args[1]))
                if table not in new:
                    found.append(f"{where}: what was allowed becomes a conflict")
    return found


def _calls(function: ast.FunctionDef) -> list[ast.Call]:
    """Calls of Alembic's operations, also of those within a batch."""
    return [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("op", "batch_op", "batch")
    ]


def _name(call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    return call.func.attr


def _column(call: ast.Call) -> ast.Call:
    column = call.args[-1]
    assert isinstance(column, ast.Call), "write the column where it is added, so that it can be read here"
    return column


def _value(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.dump(node)


def chain(service: str) -> list[tuple[str, str | None, Path]]:
    """Revision, revision before it and file of each migration, in the order of their files."""
    found = []
    for path in sorted((ROOT / "services" / service / "migrations" / "versions").glob("*.py")):
        names: dict[str, object] = {}
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                names[node.targets[0].id] = _value(node.value)
        before = names["down_revision"]
        found.append((str(names["revision"]), None if before is None else str(before), path))
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_are_numbered_in_one_line(service: str) -> None:
    """0001, 0002, … each after the one before it: which of two is newer can be said without having both."""
    before, needed = None, 0
    for number, (revision, follows, path) in enumerate(chain(service), start=1):
        assert revision.partition("_")[0] == f"{number:04}" == path.name[:4], path
        assert follows == before, path
        # Whoever migrates past a contraction must still say whom it ended.
        assert needed_by(revision) >= needed, f"{path}: name it {number:04}_needs_{needed:04}"
        assert needed_by(revision) <= number, path
        before, needed = revision, needed_by(revision)


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_only_add_or_say_whom_they_end(service: str) -> None:
    """What takes away, renames or tightens is done a release later, and is called `NNNN_needs_MMMM`."""
    needed = 0
    for revision, _, path in chain(service):
        if needed_by(revision) == needed:
            assert objections(path.read_text()) == [], path
        needed = needed_by(revision)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ('op.drop_table("a")', "more than add"),
        ('op.drop_column("a", "b")', "more than add"),
        ('op.rename_table("a", "b")', "more than add"),
        ('op.alter_column("a", "b", nullable=False)', "more than add"),
        ('op.execute("DELETE FROM a")', "more than add"),
        ('op.create_unique_constraint("u", "a", ["b"])', "more than add"),
        ('op.add_column("a", sa.Column("b", sa.Text, nullable=False))', "cannot insert"),
        ('op.create_index("i", "a", ["b"], unique=True)', "conflict"),
        ('with op.batch_alter_table("a") as batch:\n        batch.drop_column("b")', "more than add"),
        ('op.add_column("a", sa.Column("b", sa.Text))', ""),
        ('op.add_column("a", sa.Column("b", sa.Text, nullable=False, server_default=""))', ""),
        ('op.create_index("i", "a", ["b"])', ""),
        ('op.create_table("n")\n    op.create_index("i", "n", ["b"], unique=True)', ""),
    ],
)
def test_the_check_sees_what_disturbs(body: str, word: str) -> None:
    """Each kind of change once, good and bad."""
    found = objections(f"def upgrade() -> None:\n    {body}\n")
    assert bool(found) == bool(word), found
    assert any(word in line for line in found) or not word
