"""The registry's life as a process: wrong starts, sudden ends, neighbours on the same database, a database that goes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.support.postgres import PostgresServer
from tests.support.registry_process import GrpcClient, RegistryProcess, next_release, refusal


def test_an_outage_loses_nothing(tmp_path: Path) -> None:
    """Killed and started again, the registry knows everything; SIGTERM ends it cleanly in spite of open watches."""
    registry = RegistryProcess(tmp_path / "registry", extra={"TENON_FINISH_SECONDS": "60"}).start()
    try:
        key = registry.make_tenant("clinic")
        client = GrpcClient(registry)
        version = client.register("clinic", "cost", "run-1")
        release = client.set_release("clinic", "cost", 1)
        registry.kill()
        registry.start()
        with registry.http(key) as http:
            assert http.get("/v1/tenants/clinic/models/cost/release").json()["revision"] == release.revision
            assert http.get("/v1/tenants/clinic/audit:verify").json()["intact"]
        fresh = GrpcClient(registry)
        assert fresh.register("clinic", "cost", "run-1").version == version.version
        stream = fresh.watch()
        assert next(stream).release == release
        assert registry.stop() == 0
        assert refusal(lambda: list(stream))[0] in {"UNAVAILABLE", "CANCELLED"}
        assert "Traceback" not in registry.log
    finally:
        registry.kill()


def test_a_wrong_start_is_one_clear_line(tmp_path: Path) -> None:
    """A missing variable, key file or database, and a taken port: one line that names it, no traceback."""
    folder = tmp_path / "registry"
    cases = {
        "TENON_VERIFY_KEY_FILE": {"TENON_VERIFY_KEY_FILE": ""},
        "/no/such.pem": {"TENON_VERIFY_KEY_FILE": "/no/such.pem"},
        "TENON_DATABASE_URL": {"TENON_DATABASE_URL": "sqlite:////no/such/folder/registry.db"},
        "oracle2": {"TENON_DATABASE_URL": "oracle2://u:secret@h/x"},
        "not a blob URL": {"TENON_BLOB_URL": "ftp://x"},
        "TENON_HTTP_PORT": {"TENON_HTTP_PORT": "99999"},
    }
    started = {
        word: RegistryProcess(folder / str(number), extra=extra) for number, (word, extra) in enumerate(cases.items())
    }
    processes = {word: registry.launch() for word, registry in started.items()}
    try:
        assert {word: processes[word].wait(180) in {2, 3} for word in processes} == dict.fromkeys(cases, True)
    finally:
        for registry in started.values():
            registry.kill()
    for word, registry in started.items():
        assert word in registry.log
        assert "Traceback" not in registry.log
        assert "secret" not in registry.log
        assert len(registry.log.strip().splitlines()) == 1, registry.log


def test_another_process_on_the_same_database_is_watched_too(tmp_path: Path) -> None:
    """Two registries on one database: a release made at one reaches the other's watchers."""
    registry = RegistryProcess(tmp_path / "registry").start()
    twin = RegistryProcess(tmp_path / "registry").start()
    try:
        key = registry.make_tenant("twins")
        here, there = GrpcClient(registry), GrpcClient(twin, key)
        here.register("twins", "cost", "run-1")
        stream = there.watch()
        assert next(stream).synced
        arrived = threading.Event()

        def wait() -> None:
            next_release(stream)
            arrived.set()

        threading.Thread(target=wait, daemon=True).start()
        here.set_release("twins", "cost", 1)
        assert arrived.wait(180)
        stream.cancel()
        assert twin.stop() == 0
    finally:
        registry.kill()
        twin.kill()


def test_a_database_that_goes_and_comes_back(
    tmp_path: Path, postgres_url: str, postgres_server: PostgresServer
) -> None:
    """Without PostgreSQL: 503 and not ready, but open watches live on; with it again: everything as before."""
    extra = {"TENON_MAX_WATCHERS": "4"}
    registry = RegistryProcess(tmp_path / "registry", database_url=postgres_url, extra=extra).start()
    try:
        key = registry.make_tenant("clinic")
        client = GrpcClient(registry)
        client.register("clinic", "cost", "run-1")
        stream = client.watch()
        assert next(stream).synced
        postgres_server.pause()
        with registry.http() as admin, registry.http(key) as own:
            for http in (admin, own):
                gone = http.get("/v1/tenants/clinic")
                assert (gone.status_code, gone.json()["reason"]) == (503, "DATABASE_UNAVAILABLE")
            assert admin.get("/readyz").status_code == 503
            assert refusal(lambda: client.set_release("clinic", "cost", 1))[0] == "UNAVAILABLE"
            assert not next(stream).HasField("release")
            postgres_server.resume()
            deadline = time.monotonic() + 60
            while admin.get("/readyz").status_code != 200:
                assert time.monotonic() < deadline, admin.get("/readyz").text
                time.sleep(0.1)
            release = client.set_release("clinic", "cost", 1)
            assert own.get("/v1/tenants/clinic/audit:verify").json()["intact"] is True
        assert next_release(stream) == release
        assert "Traceback" not in registry.log
        assert registry.stop() == 0
    finally:
        registry.kill()
        postgres_server.resume()
