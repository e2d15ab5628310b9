"""TLS of the doors: the certificate's files, looked at when the process starts and whenever they are renewed.

Certificates of today live for weeks; whoever renews them (cert-manager, a mesh, a script) replaces the files, and both doors
show the new ones to the next connection without a restart.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from tenon.core.errors import Invalid, Place
from tenon.kit.telemetry import get_logger

if TYPE_CHECKING:
    import grpc

    from tenon.kit.config import ServiceSettings

log = get_logger(__name__)


class Certificate:
    """A certificate and its private key in two PEM files."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._cert_file, self._key_file = Path(cert_file), Path(key_file)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.chain, self.key = self._read()
        self._load()

    def look(self) -> bool:
        """Take the files' content when it has changed and fits together; whether it was taken."""
        try:
            fresh = self._read()
            if fresh == (self.chain, self.key):
                return False
            self._load()
        except Invalid as err:
            # Between two writes of whoever renews them they do not fit; what is shown now stays.
            log.warning("the renewed certificate cannot be used yet", error=err.message)
            return False
        self.chain, self.key = fresh
        log.info("the doors show a renewed certificate")
        return True

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For a gRPC port, which asks again for each connection."""
        import grpc  # A process without a gRPC door needs it not.

        shown = (self.chain, self.key)

        def again() -> grpc.ServerCertificateConfiguration | None:
            nonlocal shown
            if shown == (self.chain, self.key):
                return None
            shown = (self.chain, self.key)
            return grpc.ssl_server_certificate_configuration([(self.key, self.chain)])

        first = grpc.ssl_server_certificate_configuration([(self.key, self.chain)])
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(first, again)  # type: ignore[arg-type]  # None: nothing new
        return credentials

    def _read(self) -> tuple[bytes, bytes]:
        content = []
        for variable, path in (("TENON_TLS_CERT_FILE", self._cert_file), ("TENON_TLS_KEY_FILE", self._key_file)):
            try:
                content.append(path.read_bytes())
            except OSError as err:
                raise Invalid(
                    "TLS_FILE_UNREADABLE",
                    f"{variable}: {path} cannot be read: {err.strerror}",
                    place=Place(file=str(path)),
                ) from err
        return content[0], content[1]

    def _load(self) -> None:
        try:
            # A context that has refused a pair has none any more; so another one tries it first.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._cert_file, self._key_file)
            self.context.load_cert_chain(self._cert_file, self._key_file)
        except (ssl.SSLError, OSError) as err:
            raise Invalid(
                "TLS_FILE_INVALID",
                f"TENON_TLS_CERT_FILE, TENON_TLS_KEY_FILE: {self._cert_file} and {self._key_file} are not a PEM certificate and its key",
                place=Place(file=str(self._cert_file)),
            ) from err


def certificate_of(settings: ServiceSettings) -> Certificate | None:
    """The doors' certificate; None where they speak plaintext. Raises `Invalid`."""
    if not settings.tls_cert_file:
        return None
    return Certificate(settings.tls_cert_file, settings.tls_key_file)
