"""Builds ingest and runs it: settings → stores and clients → use cases → doors."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from services.ingest import api_grpc, api_http
from services.ingest.clients.registry import RegistryTenants
from services.ingest.domain.define_dataset import DefineDataset
from services.ingest.domain.erase_rows import EraseRows
from services.ingest.domain.load_batch import LoadBatch
from services.ingest.domain.read_quarantine import ReadQuarantine
from services.ingest.domain.receive_file import ReceiveFile
from services.ingest.settings import IngestSettings
from services.ingest.storage.batches import SqlBatches
from services.ingest.storage.datasets import SqlDatasets
from services.ingest.storage.files import BlobQuarantine, BlobRawFiles, LocalStages
from services.ingest.storage.lake import DeltaLake
from services.ingest.storage.queue import SqlLoadQueue
from services.ingest.storage.tables import outbox as outbox_rows
from services.ingest.worker import Loader, Signal
from tenon.kit.blobs import open_blobs
from tenon.kit.config import load_settings
from tenon.kit.credentials import build_authenticator
from tenon.kit.grpc import create_server
from tenon.kit.grpc_client import open_channel
from tenon.kit.http import create_app
from tenon.kit.migrating import open_service_database
from tenon.kit.outbox import Outbox
from tenon.kit.process import run_service, starting
from tenon.kit.sql import database_problem
from tenon.kit.telemetry import configure_telemetry

MIGRATIONS = "services.ingest.migrations"


def main() -> None:
    """Run until told to stop."""
    settings = load_settings(IngestSettings, "database_url", "redis_url", "blob_url", "registry_grpc")
    configure_telemetry("ingest", settings.log_level, settings.otlp_endpoint)
    with starting():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        database = open_service_database(settings, MIGRATIONS)
    spool = _empty_folder(settings.data_dir / "spool")
    blobs = open_blobs(settings.blob_url)
    outbox = Outbox(database, outbox_rows, settings.redis_url)

    datasets, batches = SqlDatasets(database), SqlBatches(database)
    queue = SqlLoadQueue(database, outbox, _instance(settings.data_dir))
    raw, quarantine = BlobRawFiles(blobs), BlobQuarantine(blobs, _empty_folder(settings.data_dir / "quarantine"))
    lake, signal = DeltaLake(blobs), Signal()
    load = LoadBatch(
        datasets=datasets,
        queue=queue,
        raw=raw,
        quarantine=quarantine,
        stages=LocalStages(_empty_folder(settings.data_dir / "stages")),
        lake=lake,
        max_text_bytes=settings.ingest_max_text_mib << 20,
        check=signal.check,
    )
    loader = Loader(queue, load, signal, settings.ingest_loaders)
    authenticator = build_authenticator(settings)

    def problems() -> dict[str, str]:
        found = {}
        if trouble := database_problem(database, MIGRATIONS):
            found["database"] = trouble
        if not loader.alive:
            found["loader"] = "a loading thread has ended"
        if not authenticator.loaded:
            found["credentials"] = "the registry has not been reached yet"
        return found

    app = create_app(
        service="ingest",
        authenticator=authenticator,
        ready=problems,
        max_body_bytes=settings.max_body_mib << 20,
        unlimited_paths=api_http.is_upload,
        description="Data set contracts, files, quarantine and lake tables.",
    )
    app.include_router(
        api_http.create_router(
            define=DefineDataset(RegistryTenants(open_channel(settings, settings.registry_grpc)), datasets),
            datasets=datasets,
            receive=ReceiveFile(datasets, batches, raw, signal.wake),
            batches=batches,
            quarantine=ReadQuarantine(batches, quarantine),
            erase=EraseRows(datasets, batches, queue, lake),
            spool=spool,
            max_file_bytes=settings.ingest_max_file_mib << 20,
        )
    )
    door = create_server(settings, authenticator, [api_grpc.servicer(datasets, batches)])
    run_service(
        app,
        settings,
        door=door,
        background=[authenticator.background, outbox.relay, loader],
        on_stop=[database.close],
    )


def _empty_folder(folder: Path) -> Path:
    """A folder for what a killed predecessor may have left half done; nothing in it is needed any more."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _instance(data_dir: Path) -> str:
    """The lasting name of this process, by which it knows its own claims after a restart."""
    path = data_dir / "instance-id"
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text(secrets.token_hex(16))
        temporary.replace(path)
    return path.read_text().strip()
