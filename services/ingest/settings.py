"""The environment of ingest."""

from __future__ import annotations

from pydantic import Field

from tenon.kit.config import ServiceSettings


class IngestSettings(ServiceSettings):
    """See `ServiceSettings`; these are ingest's own."""

    ingest_max_file_mib: int = Field(default=2048, ge=1, description="Largest file taken, as sent, MiB.")
    ingest_max_text_mib: int = Field(default=8192, ge=1, description="Largest text that a file may unpack to, MiB.")
    ingest_loaders: int = Field(default=1, ge=1, le=16, description="Files of different data sets loaded at once.")
