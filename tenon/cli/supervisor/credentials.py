"""What the first start creates and later ones reuse: the operator's key, the service token, the signing keys."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from tenon.cli.failures import BadFile
from tenon.core.errors import Place


@dataclass(frozen=True, repr=False)
class Credentials:
    """Secrets of one data folder; never printed, never logged."""

    admin_key: str
    service_token: str
    redis_password: str
    signing_key_file: str
    verify_key_file: str


def write_private(path: Path, data: bytes) -> None:
    """Write a file only its owner can read; it appears complete or not at all."""
    temporary = path.with_suffix(path.suffix + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_or_create(folder: Path) -> Credentials:
    """The credentials of a data folder; made at the first start."""
    path = folder / "credentials.json"
    if not path.exists():
        return _create(folder, path)
    try:
        kept = json.loads(path.read_text())
        found = Credentials(**{name: kept[name] for name in Credentials.__dataclass_fields__})
    except (ValueError, KeyError, TypeError) as err:
        raise BadFile(
            "CREDENTIALS_DAMAGED",
            f"the credentials file cannot be read: {err}",
            place=Place(file=str(path)),
            hint=f"restore it from a copy, or give up this data: rm -r {folder}",
        ) from err
    for key_file in (found.signing_key_file, found.verify_key_file):
        if not Path(key_file).exists():
            raise BadFile(
                "CREDENTIALS_DAMAGED",
                f"the key file {key_file} is missing; bundles signed with it could not be verified any more",
                hint=f"restore it from a copy, or give up this data: rm -r {folder}",
            )
    return found


def _create(folder: Path, path: Path) -> Credentials:
    # cryptography costs 60 ms and is needed once in a folder's life.
    from tenon.bundle.keys import generate_key_pair

    private, public = generate_key_pair()
    keys = folder / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    write_private(keys / "signing.pem", private)
    write_private(keys / "verify.pem", public)
    made = Credentials(
        admin_key=f"tenon_admin_{secrets.token_urlsafe(32)}",
        service_token=f"tenon_service_{secrets.token_urlsafe(32)}",
        redis_password=secrets.token_urlsafe(32),
        signing_key_file=str(keys / "signing.pem"),
        verify_key_file=str(keys / "verify.pem"),
    )
    write_private(path, json.dumps(asdict(made), indent=2).encode())
    return made
