"""`tenon explain` knows every code that the code can raise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tenon.cli.explanations import EXPLANATIONS

ROOT = Path(__file__).resolve().parents[4]
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
NOT_CODES = re.compile(r"(TENON|AWS|OMP|GRPC|OTEL)_.*|NO_COLOR|NO_PROXY|INT\d+|FP\d+")


def codes_in(source: str) -> Iterator[str]:
    """Every text in UPPER_SNAKE that is an argument of a call."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                branches = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
                for branch in branches:
                    if (
                        isinstance(branch, ast.Constant)
                        and isinstance(branch.value, str)
                        and CODE.fullmatch(branch.value)
                    ):
                        yield branch.value


def test_explain_knows_every_code() -> None:
    """Each code in services/ and tenon/ has its line in the table."""
    missing: dict[str, str] = {}
    for folder in ("services", "tenon"):
        for path in (ROOT / folder).rglob("*.py"):
            if "api" in path.relative_to(ROOT).parts[:2]:
                continue
            for code in codes_in(path.read_text()):
                if code not in EXPLANATIONS and not NOT_CODES.fullmatch(code):
                    missing[code] = str(path.relative_to(ROOT))
    assert missing == {}


def test_explain_says_what_to_do() -> None:
    """Each line has a meaning and a remedy that are sentences."""
    for code, explanation in EXPLANATIONS.items():
        assert CODE.fullmatch(code) or code in ("INTERNAL", "USAGE", "STOPPING"), code
        assert len(explanation.meaning) > 15, code
        assert explanation.remedy, code
