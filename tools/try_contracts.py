"""Shows that every import contract still bites: a small false tree per violation, linted with the real configuration.

A contract that nothing can break protects nothing, and import-linter says "kept" either way. Each case below is written
into a temporary folder, into an innocent skeleton of Tenon; the named contracts, and no others, must break.

    python -m tools.try_contracts
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINT = Path(sys.executable).with_name("lint-imports")
SERVICES = ("registry", "trainer", "predictor")

# What may be imported, so that no contract breaks.
INNOCENT = {
    "tenon/core/names.py": "import pydantic\nimport yaml\n",
    "tenon/api/registry_pb2.py": "import google.protobuf\n",
    "tenon/api/registry_pb2_grpc.py": "import grpc\nimport tenon.api.registry_pb2\n",
    "tenon/bundle/archive.py": "import numpy\nimport tenon.core.names\n",
    "tenon/kit/sql.py": "import sqlalchemy\nimport tenon.core.names\n",
    "tenon/kit/queue.py": "import celery\n",
    "tenon/kit/redis.py": "import redis\n",
    "tenon/kit/grpc.py": "import grpc\nimport tenon.api\n",
    "tenon/cli/main.py": "import click\nimport tenon.core.names\n",
    "services/registry/main.py": "import services.registry.settings\nimport services.registry.api_grpc\n",
    "services/registry/settings.py": "import pydantic_settings\n",
    "services/registry/metrics.py": "import prometheus_client\n",
    "services/registry/api_http.py": "import fastapi\nimport services.registry.domain.model\n",
    "services/registry/api_grpc.py": "import grpc\nimport tenon.api.registry_pb2_grpc\n",
    "services/registry/storage/tables.py": "import sqlalchemy\nimport boto3\nimport services.registry.domain.model\n",
    "services/registry/clients.py": "import grpc\n",
    "services/registry/migrations/env.py": "import alembic\nimport services.registry.storage.tables\n",
    "services/registry/domain/model.py": "import numpy\nimport tenon.core.names\n",
    "services/trainer/worker/tasks.py": "import celery\nimport services.trainer.metrics\n",
    "services/trainer/metrics.py": "import prometheus_client\n",
    "services/trainer/engine/fit.py": "import xgboost\nimport sklearn\n",
    "services/predictor/main/__init__.py": "import tenon.kit.grpc\nimport tenon.kit.redis\nimport numpy\n",
}

# The contracts that must break, and the files, put in or replaced, that break them.
VIOLATIONS: list[tuple[set[str], dict[str, str]]] = [
    ({"services-independent"}, {"services/registry/clients.py": "import services.trainer.metrics"}),
    ({"library-layers"}, {"tenon/kit/http.py": "import services.registry.metrics"}),
    ({"inside-the-library"}, {"tenon/kit/http.py": "import tenon.cli.main"}),
    ({"inside-the-library"}, {"tenon/api/extra.py": "import tenon.kit.redis"}),
    ({"core-pure", "inside-the-library"}, {"tenon/core/specs.py": "import tenon.kit"}),
    ({"core-pure"}, {"tenon/core/specs.py": "import numpy"}),
    ({"core-pure", "home-of-grpc"}, {"tenon/core/specs.py": "def late():\n    import grpc"}),
    ({"core-pure"}, {"tenon/core/specs.py": "import google.protobuf.message"}),
    ({"bundle-light", "inside-the-library"}, {"tenon/bundle/sign.py": "import tenon.kit"}),
    ({"bundle-light", "home-of-ml"}, {"tenon/bundle/sign.py": "import sklearn.base"}),
    ({"rooms"}, {"services/registry/api_http.py": "import services.registry.api_grpc"}),
    ({"rooms"}, {"services/registry/storage/rows.py": "import services.registry.clients"}),
    ({"rooms"}, {"services/registry/metrics.py": "import services.registry.storage"}),
    ({"rooms"}, {"services/registry/helpers.py": ""}),
    ({"rooms", "settings-main-only"}, {"services/registry/api_http.py": "import services.registry.settings"}),
    ({"rooms", "domain-pure"}, {"services/registry/domain/use.py": "import services.registry.metrics"}),
    ({"domain-pure"}, {"services/registry/domain/use.py": "import fastapi"}),
    ({"domain-pure"}, {"services/registry/domain/use.py": "from tenon import kit"}),
    ({"domain-pure"}, {"services/registry/domain/use.py": "from tenon.api import registry_pb2"}),
    ({"domain-pure", "home-of-sql"}, {"services/registry/domain/use.py": "from sqlalchemy import orm"}),
    ({"predictor-slim"}, {"services/predictor/clients.py": "import pandas"}),
    ({"predictor-slim"}, {"services/predictor/clients.py": "import tenon.kit.sql"}),
    (
        {"predictor-slim"},
        {"services/predictor/clients.py": "import tenon.kit.cache", "tenon/kit/cache.py": "import tenon.kit.queue"},
    ),
    ({"home-of-sql"}, {"services/registry/api_http.py": "from sqlalchemy.orm import Session"}),
    ({"home-of-sql"}, {"tenon/cli/tables.py": "import sqlalchemy"}),
    ({"home-of-celery"}, {"services/trainer/api_http.py": "import celery"}),
    ({"home-of-ml"}, {"services/trainer/worker/fit.py": "import xgboost"}),
    ({"home-of-ml"}, {"tenon/kit/fit.py": "import sklearn"}),
    ({"home-of-stores"}, {"services/registry/api_http.py": "import redis"}),
    ({"home-of-stores"}, {"services/registry/clients.py": "import boto3"}),
    ({"home-of-grpc"}, {"services/registry/api_http.py": "import grpc"}),
    (
        {"no-cycles"},
        {
            "services/registry/storage/rows.py": "import services.registry.storage.keys",
            "services/registry/storage/keys.py": "import services.registry.storage.rows",
        },
    ),
]


def build(folder: Path, extra: dict[str, str]) -> None:
    """Write the innocent tree, with the given files put in or replaced, and the real configuration."""
    for name, text in {**INNOCENT, **extra}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for package in ("tenon", "services"):
        for place in [folder / package, *(folder / package).rglob("*")]:
            if place.is_dir():
                (place / "__init__.py").touch()
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())


def lint(extra: dict[str, str]) -> tuple[set[str], str]:
    """The ids of the contracts that break in this tree, and all that the linter printed."""
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), extra)
        run = subprocess.run([LINT, "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True, check=False)
    printed = run.stdout + run.stderr
    # Long names are wrapped, so the verdict is looked for in the text without its line breaks.
    flat = " ".join(printed.split())
    return {contract["id"] for contract in contracts() if f"{contract['name']} BROKEN" in flat}, printed


def contracts() -> list[dict[str, str]]:
    """The contracts of pyproject.toml."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return config["tool"]["importlinter"]["contracts"]


def main() -> int:
    """Try every case; 1 when a contract does not bite, bites the innocent, or has no case at all."""
    failures = []
    broken, printed = lint({})
    if broken or "0 broken" not in printed:
        failures.append(f"the innocent tree breaks {sorted(broken)}:\n{printed}")
    for expected, extra in VIOLATIONS:
        broken, printed = lint(extra)
        # An import in the wrong direction often closes a cycle too; that is not a false alarm.
        right = expected <= broken <= expected | {"no-cycles"}
        print(f"{'ok  ' if right else 'FAIL'} {', '.join(sorted(expected))}: {' + '.join(extra)}")
        if not right:
            failures.append(f"{extra}: expected {sorted(expected)}, broken {sorted(broken)}:\n{printed}")
    untried = {contract["id"] for contract in contracts()} - {name for expected, _ in VIOLATIONS for name in expected}
    if untried:
        failures.append(f"no case for {sorted(untried)}")
    print("\n".join(failures) or f"{len(VIOLATIONS)} violations, each caught by the contract that should")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
