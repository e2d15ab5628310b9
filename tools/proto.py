"""Makes the Python stubs of every .proto file, or says which committed ones have drifted.

proto/tenon/api/registry/v1/registry.proto becomes tenon/api/registry/v1/registry_pb2.py, _pb2.pyi and _pb2_grpc.py.
Because a file's path under proto/ is its Python path, the compiler writes the right imports and nothing is patched.

    python -m tools.proto            writes tenon/api
    python -m tools.proto --check    compares tenon/api with what would be written; exit code 1 on any difference
"""

import argparse
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto"
PACKAGE = Path("tenon/api")


def generate(target: Path) -> list[Path]:
    """Write the stubs of all .proto files under target/tenon/api; return their paths, relative to target."""
    protos = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.proto"))
    if not protos:
        return []
    strays = [name for name in protos if not name.startswith(f"{PACKAGE.as_posix()}/")]
    if strays:
        sys.exit(
            f"these files are not under proto/{PACKAGE}, so their stubs would be no part of it: {', '.join(strays)}"
        )
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    code = protoc.main(["protoc", f"--proto_path={SOURCE}", f"--proto_path={well_known}", *outputs, *protos])
    if code:
        sys.exit(code)
    _write_package_files(target, protos)
    return sorted(path.relative_to(target) for path in (target / PACKAGE).rglob("*") if path.is_file())


def _write_package_files(target: Path, protos: list[str]) -> None:
    packages = {PACKAGE}
    for name in protos:
        packages.update(parent for parent in Path(name).parents if parent.is_relative_to(PACKAGE))
    for package in packages:
        sources = [name for name in protos if Path(name).parent == package]
        origin = " and ".join(f"proto/{name}" for name in sources) or "proto/"
        (target / package / "__init__.py").write_text(f'"""Stubs made from {origin} by `make proto`; not edited."""\n')


def committed() -> set[Path]:
    """The files that now stand under tenon/api, relative to the repository."""
    found = (path for path in (ROOT / PACKAGE).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT) for path in found}


def write() -> int:
    """Bring tenon/api up to date: write what changed, delete what has no source any more."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        made = generate(fresh)
        for path in sorted(committed() - set(made)):
            (ROOT / path).unlink()
            print(f"deleted {path}")
        changed = [path for path in made if _differs(fresh, path)]
        for path in changed:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_bytes((fresh / path).read_bytes())
            print(f"wrote {path}")
    print(f"{len(made)} files in {PACKAGE}, {len(changed)} of them new or changed")
    return 0


def check() -> int:
    """Name every file of tenon/api that is not what the sources say; 1 when there is one."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        made = set(generate(fresh))
        present = committed()
        drift = [f"missing: {path}" for path in sorted(made - present)]
        drift += [f"no source: {path}" for path in sorted(present - made)]
        drift += [f"differs: {path}" for path in sorted(made & present) if _differs(fresh, path)]
    for line in drift:
        print(line)
    print("run `make proto` and commit tenon/api" if drift else f"{len(made)} files in {PACKAGE} are up to date")
    return 1 if drift else 0


def _differs(fresh: Path, path: Path) -> bool:
    old = ROOT / path
    return not old.is_file() or old.read_bytes() != (fresh / path).read_bytes()


def main() -> int:
    """Read the command line and act."""
    parser = argparse.ArgumentParser(description="Make tenon/api from proto/.")
    parser.add_argument("--check", action="store_true", help="only compare; exit code 1 on any difference")
    return check() if parser.parse_args().check else write()


if __name__ == "__main__":
    sys.exit(main())
