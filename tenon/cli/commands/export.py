"""`tenon export`: a version as files that answer without the platform."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenon.cli.context import data_option, json_option, open_client, tenant_option
from tenon.cli.failures import BadFile, BadUsage
from tenon.cli.files import need_file
from tenon.cli.output import Output
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant, near_name
from tenon.core.errors import Invalid, NotFound, Place, Precondition

if TYPE_CHECKING:
    from tenon.bundle import Bundle
    from tenon.cli.client import Client

DOWNLOAD_SECONDS = 120.0


@click.command()
@click.argument("model")
@click.option(
    "-o", "--output", "folder", required=True, type=click.Path(path_type=Path), metavar="FOLDER",
    help="Where to write: a new or empty folder, or one that was exported to before.",
)  # fmt: skip
@click.option(
    "--version", type=click.IntRange(min=1), metavar="VERSION", help="Default: the stable one, else the newest."
)
@click.option(
    "--verify-key", envvar="TENON_VERIFY_KEY_FILE", show_envvar=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Public key (PEM) that bundles are signed with; a platform of `tenon up` has its own.",
)  # fmt: skip
@tenant_option
@data_option()
@json_option
@click.pass_obj
def export(
    output: Output, model: str, folder: Path, version: int | None, verify_key: Path | None, tenant: str | None,
    data: str | None,
) -> None:  # fmt: skip
    """Write a version as ONNX with a runner that needs only onnxruntime and numpy.

    The bundle's signature and the digest of each of its files are verified before anything is written.
    """
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    key = _key_file(client, verify_key)
    number = version or _default_version(client, owner, model)
    with near_name(client, owner, "model", model):
        about = client.get("registry", path_of("tenants", owner, "models", model, "versions", str(number)))
    path = path_of("tenants", owner, "models", model, "versions", str(number), "bundle")
    bundle, signer = _verified(
        client.download("registry", path, deadline=DOWNLOAD_SECONDS), key, about["bundle_sha256"]
    )
    if (bundle.manifest.tenant, bundle.manifest.model) != (owner, model):
        raise Invalid("BUNDLE_WRONG_OWNER", f"the bundle is of {bundle.manifest.tenant}/{bundle.manifest.model}")
    # cryptography and numpy are imported by now.
    from tenon.bundle.edge import FILES, edge_files

    files = edge_files(bundle, signer, number)
    _write(folder, files, FILES)
    form = bundle.manifest.forms["onnx"]
    if output.json:
        answer: dict[str, Any] = {"tenant": owner, "model": model, "version": number, "folder": str(folder)}
        answer |= {"bundle_sha256": bundle.sha256, "files": sorted(files), "form": form.model_dump(mode="json")}
        output.result("export", answer)
        return
    output.line(
        f"verified {owner}/{model} version {number}: signature and {len(bundle.manifest.files)} digests are right"
    )
    output.line(
        f"wrote {folder}: {', '.join(files)}; over {form.rows:,} held-out rows at most {form.max_difference:.3g} from the "
        "fitted pipeline"
    )
    output.line(f"try it: pip install onnxruntime numpy && python {folder}/run.py < {folder}/example.json")


def _default_version(client: Client, tenant: str, model: str) -> int:
    try:
        tracks = client.get("registry", path_of("tenants", tenant, "models", model, "release"))["tracks"]
    except NotFound:
        tracks = []
    for track in tracks:
        if track["role"] == "stable":
            return int(track["version"])
    with near_name(client, tenant, "model", model):
        found = client.get("registry", path_of("tenants", tenant, "models", model, "versions"))["versions"]
        if found:
            return int(found[0]["version"])
        client.get("trainer", path_of("tenants", tenant, "models", model))
    raise NotFound(
        "MODEL_NOT_FOUND", f"model {model!r} has no version yet", hint=f"tenon train {model} --tenant {tenant} --wait"
    )


def _key_file(client: Client, named: Path | None) -> Path:
    if named is not None:
        need_file(named, before="--verify-key ")
        return named
    folder = client.platform.folder
    if folder is not None and (folder / "keys" / "verify.pem").is_file():
        return folder / "keys" / "verify.pem"
    raise BadUsage(
        "which key are bundles signed with? nothing is exported that was not verified",
        hint="--verify-key FILE: the public key that registry and predictor have in TENON_VERIFY_KEY_FILE",
    )


def _verified(data: bytes, key_file: Path, sha256: str) -> tuple[Bundle, bytes]:
    """The bundle, and the public key that signed it, as PEM."""
    try:
        # Half a second of imports, and packages that the command alone does not need.
        from tenon.bundle import load_verify_key, open_bundle
        from tenon.bundle.archive import MANIFEST, SIGNATURE
    except ImportError as err:
        raise Precondition(
            "EXPORT_NOT_INSTALLED", f"verifying a bundle needs {err.name}", hint="pip install 'tenon[export]'"
        ) from None
    key = load_verify_key(key_file)
    bundle = open_bundle(data, key, sha256=sha256)
    return bundle, key.signer(bundle.files[SIGNATURE], bundle.files[MANIFEST])


def _write(folder: Path, files: dict[str, bytes], known: tuple[str, ...]) -> None:
    """Write all files; what is in the folder and not ours stays, and is a reason not to write."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in (*known, "__pycache__"))
        if foreign:
            raise BadUsage(
                f"{str(folder)!r} holds other files ({', '.join(foreign[:3])}); nothing was written",
                hint=f"name a new folder: -o {folder}/edge",
            )
        for name, content in files.items():
            temporary = folder / f".{name}.new"
            temporary.write_bytes(content)
            temporary.replace(folder / name)
    except OSError as err:
        raise BadFile(
            "FILE_UNWRITABLE", f"it cannot be written: {err.strerror}", place=Place(file=str(err.filename or folder))
        ) from err
