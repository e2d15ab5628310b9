"""The registry's HTTP door: people, the command line, gateways."""

from services.registry.api_http.app import HttpDoor, build_app

__all__ = ["HttpDoor", "build_app"]
