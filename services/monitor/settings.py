"""Monitor's settings; the only place that reads the environment."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field, field_validator

from tenon.core.errors import Invalid
from tenon.core.timestamps import parse_duration
from tenon.kit.config import ServiceSettings


class MonitorSettings(ServiceSettings):
    """What monitor reads beyond the settings that all services have."""

    monitor_evaluate_seconds: float = Field(default=30.0, gt=0, description="Pause between two looks at all models.")
    monitor_canary_seconds: float = Field(default=10.0, gt=0, description="Pause between two looks at all canaries.")
    monitor_window: str = Field(default="7d", description="What the background evaluator and a report look back on.")
    monitor_min_rows: int = Field(default=100, ge=20, description="Rows below which nothing is said of a column.")
    monitor_min_labels: int = Field(default=100, ge=20, description="Labels below which nothing is said of quality.")
    monitor_false_discovery_rate: float = Field(default=0.05, gt=0, lt=1, description="Over the columns of a report.")
    monitor_effect_floor: float = Field(
        default=0.1, ge=0, lt=1, description="KS distance (or share of changed levels) below which it is no drift."
    )
    monitor_psi_floor: float = Field(default=0.1, ge=0, description="PSI less its noise below which it is no drift.")
    monitor_share_floor: float = Field(default=0.05, ge=0, lt=1, description="As above, for missing and unseen shares.")
    monitor_quality_margin: float = Field(
        default=0.05, ge=0, lt=1, description="Relative difference from the test figure below which it is as expected."
    )
    monitor_incident_seconds: float = Field(default=30.0, gt=0, description="Pause between two looks at the fleet.")
    monitor_incident_rows: int = Field(
        default=1_000, ge=20, description="Rows from which a model's window is judged at once; with fewer, after a day."
    )
    monitor_incident_period: str = Field(
        default="30d", description="Of the incidents opened in so long, the false discovery rate is false at most."
    )
    monitor_alert_seconds: float = Field(default=5.0, gt=0, description="Pause between two looks for due alerts.")
    monitor_webhooks_file: Path | None = Field(
        default=None, description="YAML with the addresses and secrets of webhooks; read again when it changes."
    )
    monitor_webhook_networks: str = Field(
        default="", description="Private networks webhooks may be in, such as 10.1.0.0/16; comma-separated."
    )
    monitor_docs_url: str = Field(default="", description="Where docs/ is published; put before links to its pages.")
    monitor_claim_after_seconds: float = Field(
        default=60.0, gt=0, description="Idle time after which a dead consumer's log entries go to another."
    )

    monitor_archive_after: str = Field(
        default="1d", description="Age from which rows of the log are moved to the lake (where TENON_BLOB_URL is set)."
    )
    monitor_rows_kept: str = Field(default="400d", description="How long rows of the log are kept, archived ones too.")
    monitor_windows_kept: str = Field(default="1825d", description="How long counted windows are kept.")
    monitor_hours_kept: str = Field(
        default="35d", description="How long hours are counted apart; then they become days."
    )
    monitor_days_kept: str = Field(
        default="800d", description="How long days are counted apart; then they become four weeks."
    )

    monitor_join_seconds: float = Field(
        default=10.0, gt=0, description="Pause between two looks for labels of predictions that came after them."
    )
    monitor_retraining_seconds: float = Field(
        default=60.0, gt=0, description="Pause between two looks whether a model should be trained anew."
    )
    monitor_skew_seconds: float = Field(
        default=300.0, gt=0, description="Pause between two comparisons of served with trained values."
    )
    monitor_skew_rows_per_hour: int = Field(
        default=200, ge=0, le=10_000, description="Rows of each version that are compared in an hour; 0: none."
    )

    @property
    def webhook_networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """The private networks that alerts may be sent to."""
        return [ipaddress.ip_network(part.strip()) for part in self.monitor_webhook_networks.split(",") if part.strip()]

    @field_validator("monitor_webhook_networks")
    @classmethod
    def _check_networks(cls, value: str) -> str:
        for part in value.split(","):
            if part.strip():
                ipaddress.ip_network(part.strip())
        return value

    @field_validator(
        "monitor_window", "monitor_incident_period", "monitor_archive_after", "monitor_rows_kept", "monitor_windows_kept",
        "monitor_hours_kept", "monitor_days_kept",
    )  # fmt: skip
    @classmethod
    def _check_window(cls, value: str) -> str:
        try:
            parse_duration(value, "TENON_MONITOR_WINDOW")
        except Invalid as err:
            raise ValueError(f"{err.message}; {err.hint}") from None
        return value
