"""Asks the service in this container whether it is ready; exit code 0 when it is: `python -m tenon.kit.probe [PATH]`.

The images' HEALTHCHECK. Only the standard library and little of it, because it starts every few seconds.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping

SECONDS = 4.0


def ask(port: int, path: str, *, tls: bool = False, host: str = "127.0.0.1", seconds: float = SECONDS) -> str | None:
    """None when the door answers 200, else what it said."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as plain:
            connection = _encrypted(plain) if tls else plain
            connection.settimeout(seconds)
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
            answer = b""
            while len(answer) < 65536 and (part := connection.recv(65536)):
                answer += part
    except OSError as err:
        return f"port {port} does not answer: {err}"
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ")
    if len(status) > 1 and status[1] == b"200":
        return None
    return (body or head).decode(errors="replace").strip() or "an empty answer"


def _encrypted(connection: socket.socket) -> socket.socket:
    import ssl  # Takes longer to import than everything else here.

    # The certificate names the service as others reach it; this process asks its own loopback, where nobody can stand between.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Ask the port that the service was told to open: TENON_HTTP_PORT, or TENON_WORKER_METRICS_PORT of a worker."""
    path = arguments[0] if arguments else "/readyz"
    worker = environment.get("TENON_WORKER_METRICS_PORT", "0")
    port = worker if path == "/metrics" and worker not in ("", "0") else environment.get("TENON_HTTP_PORT", "8080")
    tls = bool(environment.get("TENON_TLS_CERT_FILE")) and port != worker
    problem = ask(int(port), path, tls=tls)
    if problem is not None:
        sys.stdout.write(f"{problem}\n")
    return 0 if problem is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
