"""Prints the Secrets that the chart `platform` names, with passwords and keys made now, as manifests for `kubectl create`:

    python deploy/helm/make_secrets.py --namespace tenon --bundled | kubectl create -f -

`create` refuses what exists, so that a second run changes nothing. With `--bundled` the stores of the chart get theirs as
well, and the addresses are theirs; without, databases are looked for where `--postgresql`, `--redis` say, and the
passwords printed have to be set there. Only the standard library and the `openssl` command are needed.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
from typing import Any

OWN_DATABASE = ("registry", "ingest", "features", "trainer", "monitor")


def main(arguments: list[str]) -> int:
    """Print them as one list."""
    parser = argparse.ArgumentParser(description="Print the Secrets of the chart `platform`.")
    parser.add_argument("--namespace", default="tenon")
    parser.add_argument(
        "--release", default="tenon", help="name of the Helm release, for the bundled stores' addresses"
    )
    parser.add_argument("--bundled", action="store_true", help="for the chart's own PostgreSQL, Redis and object store")
    parser.add_argument("--postgresql", default="", help="HOST:PORT of PostgreSQL")
    parser.add_argument("--redis", default="", help="HOST:PORT of Redis")
    given = parser.parse_args(arguments)
    if not given.bundled and not (given.postgresql and given.redis):
        parser.error("say --bundled, or where the stores are: --postgresql HOST:PORT --redis HOST:PORT")
    values = _values(
        given.postgresql or f"{given.release}-postgresql:5432",
        given.redis or f"{given.release}-redis:6379",
        bundled=given.bundled,
    )
    items = [_manifest(name, given.namespace, data) for name, data in values.items()]
    json.dump({"apiVersion": "v1", "kind": "List", "items": items}, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


def _values(postgresql: str, redis: str, *, bundled: bool) -> dict[str, dict[str, str]]:
    """Secret -> key -> value, under the names that the chart's values have."""
    passwords = {name: secrets.token_urlsafe(32) for name in OWN_DATABASE}
    redis_password = secrets.token_urlsafe(32)
    access, secret = secrets.token_hex(10).upper(), secrets.token_urlsafe(32)
    private = _openssl("genpkey", "-algorithm", "ed25519")
    made = {
        "tenon-service-token": {"TENON_SERVICE_TOKEN": f"tenon_service_{secrets.token_urlsafe(32)}"},
        "tenon-admin-key": {"TENON_ADMIN_KEY": f"tenon_admin_{secrets.token_urlsafe(32)}"},
        "tenon-signing-key": {"signing.pem": private},
        "tenon-verify-key": {"verify.pem": _openssl("pkey", "-pubout", text=private)},
        "tenon-redis": {
            "TENON_REDIS_URL": f"redis://:{redis_password}@{redis}/0",
            "REDIS_ADDRESS": redis,
            "REDIS_PASSWORD": redis_password,
        },
        **{
            f"tenon-database-{name}": {
                "TENON_DATABASE_URL": f"postgresql+psycopg://{name}:{password}@{postgresql}/{name}"
            }
            for name, password in passwords.items()
        },
    }
    if bundled:
        configuration = {
            "requirepass": redis_password, "dir": "/data", "bind": "*", "protected-mode": "no",
            "appendonly": "yes", "appendfsync": "everysec", "save": '""', "maxmemory-policy": "noeviction",
        }  # fmt: skip
        made |= {
            "tenon-postgresql": {
                "POSTGRES_USER": "postgres",
                "POSTGRES_PASSWORD": secrets.token_urlsafe(32),
                **{f"{name.upper()}_PASSWORD": password for name, password in passwords.items()},
            },
            "tenon-redis-server": {"redis.conf": "".join(f"{key} {value}\n" for key, value in configuration.items())},
            "tenon-objects-server": {"ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": secret},
            "tenon-objects": {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret},
        }
    return made


def _manifest(name: str, namespace: str, data: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "tenon"}},
        "stringData": data,
    }


def _openssl(*words: str, text: str = "") -> str:
    try:
        return subprocess.run(["openssl", *words], input=text, capture_output=True, text=True, check=True).stdout
    except OSError as err:
        sys.exit(f"error: the openssl command is needed to make the signing key: {err}")
    except subprocess.CalledProcessError as err:
        sys.exit(f"error: openssl {words[0]}: {err.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
