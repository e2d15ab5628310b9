"""What a process tells of its disk and its certificate."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import REGISTRY

from tenon.kit.vitals import watch_certificate, watch_disk


def certificate(ends: datetime) -> bytes:
    """A certificate that ends then, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a door")])
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, ends - timedelta(days=90), ends)
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_room_of_the_disk_is_told(tmp_path: Path) -> None:
    """Free room is not more than the size; a folder that is not there has no figure."""
    watch_disk(tmp_path)
    free = REGISTRY.get_sample_value("tenon_disk_free_bytes", {"folder": "data"})
    size = REGISTRY.get_sample_value("tenon_disk_size_bytes", {"folder": "data"})
    assert free is not None
    assert size is not None
    assert 0 < free <= size
    watch_disk(tmp_path / "nothing")
    told = REGISTRY.get_sample_value("tenon_disk_free_bytes", {"folder": "data"})
    assert told is not None
    assert math.isnan(told)


def test_end_of_the_certificate_follows_its_file(tmp_path: Path) -> None:
    """A renewed file counts at the next look; one that cannot be read is no figure, not an end in 1970."""

    def told() -> float:
        value = REGISTRY.get_sample_value("tenon_tls_certificate_expiry_timestamp_seconds", {"use": "doors"})
        assert value is not None
        return value

    file, first = tmp_path / "cert.pem", datetime(2027, 1, 31, 12, tzinfo=UTC)
    file.write_bytes(certificate(first))
    watch_certificate(file)
    assert told() == first.timestamp()
    file.write_bytes(certificate(first + timedelta(days=90)))
    assert told() == (first + timedelta(days=90)).timestamp()
    file.write_bytes(b"half a file")
    assert math.isnan(told())
