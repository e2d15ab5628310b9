"""Makes what a platform under docker-compose keeps secret, once: `python deploy/docker/make_secrets.py FOLDER`.

Only the standard library and the `openssl` command, so that a host that only runs containers needs nothing else. A file
that exists is left as it is, but for operator.env, which says where the doors are. The databases' passwords are set when PostgreSQL first starts (docs/operate/compose.md).
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

OWN_DATABASE = ("registry", "ingest", "features", "trainer", "monitor")
SERVICES = ("registry", "ingest", "features", "trainer", "predictor", "monitor")
"""In the order of their ports."""


def main(folder: Path) -> int:
    """Write what is missing and say what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    # The folder keeps other users of the host out; a file that a container mounts must be readable by the container's user.
    folder.chmod(0o700)
    made = [*_values(folder), *_keys(folder)]
    _write_operator(folder)
    sys.stdout.write(f"{folder}: {', '.join(made) if made else 'everything is there already'}\n")
    return 0


def _values(folder: Path) -> list[str]:
    if (folder / "platform.env").exists():
        return []
    passwords = {name: secrets.token_urlsafe(32) for name in OWN_DATABASE}
    admin, redis = f"tenon_admin_{secrets.token_urlsafe(32)}", secrets.token_urlsafe(32)
    access, secret = secrets.token_hex(10).upper(), secrets.token_urlsafe(32)
    files = {
        "platform.env": {
            "TENON_SERVICE_TOKEN": f"tenon_service_{secrets.token_urlsafe(32)}",
            "TENON_ADMIN_KEY": admin,
            "TENON_REDIS_URL": f"redis://:{redis}@redis:6379/0",
        },
        "postgres.env": {
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": secrets.token_urlsafe(32),
            **{f"{name.upper()}_PASSWORD": password for name, password in passwords.items()},
        },
        "objects.env": {"ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": secret},
        "objects-client.env": {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret},
        "grafana.env": {"GF_SECURITY_ADMIN_PASSWORD": secrets.token_urlsafe(16)},
        **{
            f"{name}.env": {"TENON_DATABASE_URL": f"postgresql+psycopg://{name}:{password}@postgres:5432/{name}"}
            for name, password in passwords.items()
        },
    }
    redis_configuration = {
        "requirepass": redis, "dir": "/data", "bind": "*", "protected-mode": "no",
        "appendonly": "yes", "appendfsync": "everysec", "save": '""', "maxmemory-policy": "noeviction",
    }  # fmt: skip
    _write(folder / "redis.conf", "".join(f"{key} {value}\n" for key, value in redis_configuration.items()), 0o644)
    # The last one says that all are there.
    for name in sorted(files, key="platform.env".__eq__):
        _write(folder / name, "".join(f"{key}={value}\n" for key, value in files[name].items()), 0o600)
    return ["redis.conf", *files]


def _write_operator(folder: Path) -> None:
    """Where the doors are and the operator's key, for the `tenon` command on this host; it follows the ports of .env."""
    settings = _read(Path(".env")) | os.environ
    address = settings.get("TENON_BIND", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")
    lines = {
        f"TENON_{name.upper()}_URL": f"http://{address}:{settings.get(f'TENON_{name.upper()}_PORT', 7801 + index)}"
        for index, name in enumerate(SERVICES)
    }
    lines["TENON_PREDICTOR_GRPC"] = f"{address}:{settings.get('TENON_PREDICTOR_GRPC_PORT', 7815)}"
    lines["TENON_API_KEY"] = _read(folder / "platform.env")["TENON_ADMIN_KEY"].replace(",", " ").split()[0]
    _write(folder / "operator.env", "".join(f"{key}={value}\n" for key, value in lines.items()), 0o600)


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def _keys(folder: Path) -> list[str]:
    private, public = folder / "signing.pem", folder / "verify.pem"
    if public.exists():
        return []
    made = _openssl("genpkey", "-algorithm", "ed25519")
    _write(private, made, 0o644)
    _write(public, _openssl("pkey", "-in", str(private), "-pubout"), 0o644)
    return [private.name, public.name]


def _openssl(*words: str) -> str:
    try:
        return subprocess.run(["openssl", *words], capture_output=True, text=True, check=True).stdout
    except OSError as err:
        sys.exit(f"error: the openssl command is needed to make the signing key: {err}")
    except subprocess.CalledProcessError as err:
        sys.exit(f"error: openssl {words[0]}: {err.stderr.strip()}")


def _write(path: Path, text: str, mode: int) -> None:
    new = path.with_suffix(f"{path.suffix}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
