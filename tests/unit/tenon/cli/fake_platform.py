"""A stand-in for all six services that remembers what it is given and refuses as they do; HTTP only."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tenon.core.errors import did_you_mean
from tests.unit.tenon.cli.fake_features import (
    erased_predictions,
    erased_rows,
    feature_answer,
    feature_history,
    feature_view,
    online_features,
    pushed_events,
    training_sets,
)
from tests.unit.tenon.cli.fake_monitor import history, in_depth, overview, retraining

KEY = "the-operators-key"
FOLDERS = {"datasets": "data set", "feature-views": "feature view", "models": "model", "monitors": "monitor"}


class Refusal(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, reason: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": message, "reason": reason, "request_id": "r1"} | ({"hint": hint} if hint else {})


class FakePlatform:
    """One server at one address for all services."""

    def __init__(self) -> None:
        self.tenants: dict[str, dict[str, Any]] = {}
        self.documents: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.versions: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.bundles: dict[int, bytes] = {}
        self.releases: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.serves: dict[tuple[str, str], dict[str, Any]] = {}
        self.runs: dict[str, list[dict[str, Any]]] = {}
        self.labels: list[dict[str, Any]] = []
        self.files: list[bytes] = []
        self.asked: list[tuple[str, str]] = []
        self.slow_predictor = False
        self.pinned_replicas: list[dict[str, Any]] = []
        self.disagreements: list[dict[str, Any]] = []
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _handle(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                raw = self.rfile.read(length)
                try:
                    status, body = 200, platform.answer(self.command, self.path, raw, dict(self.headers.items()))
                except Refusal as refusal:
                    status, body = refusal.status, refusal.body
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - the names that http.server calls

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A command that stopped waiting is not an error here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def environment(self) -> dict[str, str]:
        """What points the command here."""
        services = ("registry", "ingest", "features", "trainer", "predictor", "monitor")
        return {f"TENON_{name.upper()}_URL": self.url for name in services} | {"TENON_API_KEY": KEY}

    # --- what the services do

    def answer(self, method: str, target: str, raw: bytes, headers: dict[str, str]) -> Any:
        """The body of an answer, or a `Refusal`."""
        parts = urlsplit(target)
        path = unquote(parts.path)
        self.asked.append((method, path))
        if path == "/readyz":
            return {"ready": True, "problems": {}}
        lower = {name.lower(): value for name, value in headers.items()}
        if lower.get("authorization") != f"Bearer {KEY}":
            raise Refusal(401, "KEY_INVALID", "the API key is not valid")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        body: Any = json.loads(raw) if raw and lower.get("content-type") == "application/json" else raw
        routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", r"/v1/tenants", lambda: {"tenants": list(self.tenants.values())}),
            ("GET", r"/v1/tenants/([^/]+)", self._tenant),
            ("PUT", r"/v1/tenants/([^/]+)", lambda t: self._put_tenant(t, body)),
            ("POST", r"/v1/tenants/([^/]+)/keys", lambda t: {"key_id": "k1", "key": "tk_secret", "tenant": t, "scopes": body["scopes"]}),
            ("GET", r"/v1/tenants/([^/]+)/keys", lambda _: {"keys": []}),
            ("DELETE", r"/v1/tenants/([^/]+)/keys/([^/]+)", self._no_key),
            ("GET", r"/v1/tenants/([^/]+)/(datasets|feature-views|models)", self._list),
            ("GET", r"/v1/tenants/([^/]+)/(datasets|feature-views|models|monitors)/([^/]+)", self._get),
            ("GET", r"/v1/tenants/([^/]+)/feature-views/([^/]+)/(lineage|statistics|statistics.html)", feature_answer),
            ("POST", r"/v1/tenants/([^/]+)/feature-views/([^/]+)/history", lambda _t, _v: feature_history(body)),
            ("GET", r"/v1/tenants/([^/]+)/training-sets", lambda _: training_sets()),
            ("POST", r"/v1/tenants/([^/]+)/online-features", lambda _: online_features(body)),
            ("POST", r"/v1/tenants/([^/]+)/datasets/([^/]+)/events", lambda _t, _d: pushed_events(body)),
            ("POST", r"/v1/tenants/([^/]+)/datasets/([^/]+)/erasures", lambda _t, d: erased_rows(d, body)),
            ("POST", r"/v1/tenants/([^/]+)/datasets/([^/]+)/events/withdraw", lambda _t, _d: {"withdrawn": int(body["value"] == "9")}),
            ("POST", r"/v1/tenants/([^/]+)/erasures", lambda _: erased_predictions()),
            ("PUT", r"/v1/tenants/([^/]+)/(datasets|feature-views|models|monitors)/([^/]+)", lambda t, f, n: self._put(t, f, n, body)),
            ("POST", r"/v1/tenants/([^/]+)/datasets/([^/]+)/files", lambda t, d: self._load(t, d, query, body)),
            ("POST", r"/v1/tenants/([^/]+)/models/([^/]+)/runs", self._train),
            ("GET", r"/v1/tenants/([^/]+)/runs", lambda t: {"runs": self.runs.get(t, [])}),
            ("GET", r"/v1/tenants/([^/]+)/runs/([^/]+)", lambda t, r: next(run for run in self.runs[t] if run["id"] == r)),
            ("GET", r"/v1/tenants/([^/]+)/models/([^/]+)/versions", lambda t, m: {"versions": self.versions.get((t, m), [])}),
            ("GET", r"/v1/tenants/([^/]+)/models/([^/]+)/versions/(\d+)", self._version),
            ("GET", r"/v1/tenants/([^/]+)/models/([^/]+)/versions/(\d+)/bundle", lambda _t, _m, v: self.bundles[int(v)]),
            ("GET", r"/v1/tenants/([^/]+)/models/([^/]+)/release", self._release),
            ("PUT", r"/v1/tenants/([^/]+)/models/([^/]+)/release", lambda t, m: self._set_release(t, m, body)),
            ("POST", r"/v1/tenants/([^/]+)/models/([^/]+)/release:promote", self._promote),
            ("POST", r"/v1/tenants/([^/]+)/models/([^/]+)/release:rollback", lambda t, m: self._roll_back(t, m, body)),
            ("GET", r"/v1/tenants/([^/]+)/models/([^/]+)/release/history", lambda t, m: {"releases": self.releases.get((t, m), [])[::-1]}),
            ("GET", r"/v1/tenants/([^/]+)/models/([^/]+)/serving", self._serving),
            ("GET", r"/v1/tenants/([^/]+)/serving", self._serving),
            ("GET", r"/v1/tenants/([^/]+)/models/([^/]+)/report", self._report),
            ("GET", r"/v1/overview", overview),
            ("GET", r"/v1/tenants/([^/]+)/retraining", lambda _: retraining()),
            ("POST", r"/v1/tenants/([^/]+)/retraining/([^/]+)/(start|dismiss)", lambda _t, r, what: self._decide(r, what)),
            ("GET", r"/v1/tenants/([^/]+)/models/([^/]+)/history", lambda _t, _m: history()),
            ("GET", r"/v1/tenants/([^/]+)/models/([^/]+)/quality", lambda _t, _m: in_depth()),
            ("GET", r"/v1/tenants/([^/]+)/months/([^/]+)/report.html", lambda _t, _m: b"<!doctype html>"),
            ("POST", r"/v1/tenants/([^/]+)/models/([^/]+)/labels", lambda _t, _m: self._label(body)),
            ("GET", r"/v2/models/([^/]+)", lambda m: self._metadata(lower["x-tenon-tenant"], m)),
            ("POST", r"/v1/models/([^/:]+):predict", lambda m: self._predict(lower["x-tenon-tenant"], m, body)),
        ]  # fmt: skip
        for verb, pattern, act in routes:
            if verb == method and (match := re.fullmatch(pattern, path)):
                return act(*match.groups())
        raise Refusal(404, "PATH_NOT_FOUND", f"there is nothing at {path}")

    def _tenant(self, tenant: str) -> Any:
        if tenant not in self.tenants:
            raise Refusal(
                404,
                "TENANT_NOT_FOUND",
                f"there is no tenant {tenant!r}",
                "`tenon apply` with a Tenant document makes one",
            )
        return self.tenants[tenant]

    def _put_tenant(self, tenant: str, body: dict[str, Any]) -> Any:
        change = "updated" if tenant in self.tenants else "created"
        self.tenants[tenant] = {"name": tenant, "spec": body}
        return {"change": change, "spec": body}

    def _decide(self, request: str, what: str) -> Any:
        found = next((one for one in retraining()["requests"] if one["id"] == request), None)
        if found is None:
            raise Refusal(404, "RETRAINING_NOT_FOUND", f"there is no retraining request {request!r}")
        started = {"state": "started", "run_id": "r7"} if what == "start" else {"state": "dismissed"}
        return found | started | {"changed_by": "ada"}

    def _no_key(self, tenant: str, key: str) -> Any:
        raise Refusal(404, "KEY_NOT_FOUND", f"tenant {tenant!r} has no key {key!r}")

    def _list(self, tenant: str, folder: str) -> Any:
        names = [name for (t, f, name) in self.documents if (t, f) == (tenant, folder)]
        found = [{"name": name} for name in names]
        if folder in ("feature-views", "datasets"):
            found = [self._get(tenant, folder, name) for name in names]
        return {folder.replace("-", "_"): found}

    def _get(self, tenant: str, folder: str, name: str) -> Any:
        if (tenant, folder, name) not in self.documents:
            names = [known for (t, f, known) in self.documents if (t, f) == (tenant, folder)]
            near = did_you_mean(name, names)
            noun = FOLDERS[folder]
            raise Refusal(404, f"{noun.upper().replace(' ', '_')}_NOT_FOUND", f"tenant {tenant!r} has no {noun} {name!r}",
                          f"did you mean `{near}`?" if near else None)  # fmt: skip
        shown = {"name": name, "spec": self.documents[tenant, folder, name]}
        return shown | (feature_view(name) if folder == "feature-views" else {})

    def _put(self, tenant: str, folder: str, name: str, body: dict[str, Any]) -> Any:
        self._tenant(tenant)
        change = "updated" if (tenant, folder, name) in self.documents else "created"
        self.documents[tenant, folder, name] = body
        return {"change": change, "spec": body}

    def _load(self, tenant: str, dataset: str, query: dict[str, str], body: bytes) -> Any:
        self._get(tenant, "datasets", dataset)
        text = body.decode("latin-1")
        name = query["name"]
        if not text:
            raise Refusal(400, "EMPTY_FILE", f"{name} is empty")
        known = self.documents[tenant, "datasets", dataset]["columns"]
        for column in text.splitlines()[0].split(","):
            if column not in known:
                near = did_you_mean(column, known)
                raise Refusal(400, "COLUMN_UNKNOWN", f"data set {dataset!r} has no column {column!r}",
                              f"did you mean `{near}`?" if near else "declare it under `columns`")  # fmt: skip
        duplicate = body in self.files
        self.files.append(body)
        rows = len(text.splitlines()) - 1
        return {"id": "b1", "file_name": name, "state": "committed", "rows_read": rows, "rows_committed": rows, "rows_superseded": 0,
                "rows_quarantined": 0, "quarantine_reasons": {}, "duplicate": duplicate, "problem": None}  # fmt: skip

    def _train(self, tenant: str, model: str) -> Any:
        self._get(tenant, "models", model)
        versions = self.versions.setdefault((tenant, model), [])
        version = {"version": len(versions) + 1, "bundle_sha256": f"{len(versions) + 1:064x}", "run_id": f"run-{len(versions) + 1}",
                   "created_at": "2026-01-01T00:00:00Z", "gates_passed": True}  # fmt: skip
        versions.insert(0, version)
        figures = {"rows": 100, "metrics": {"roc_auc": 0.7}}
        evidence = {
            "estimator": "xgboost",
            "train_rows": 1000,
            "model": figures,
            "baseline": figures,
            "random_split": figures,
            "warnings": [],
        }
        run = {"id": version["run_id"], "tenant": tenant, "model": model, "state": "succeeded", "progress": 1.0, "step": "", "reason": None,
               "problem": None, "hint": None, "version": version["version"], "evidence": evidence, "gates": [],
               "created_at": "2026-01-01T00:00:00Z"}  # fmt: skip
        self.runs.setdefault(tenant, []).insert(0, run)
        return run

    def _version(self, tenant: str, model: str, number: str) -> Any:
        known = self.versions.get((tenant, model), [])
        for version in known:
            if version["version"] == int(number):
                return version
        if not known:
            raise Refusal(404, "MODEL_NOT_FOUND", f"tenant {tenant!r} has no versions of a model {model!r}")
        message = f"model {model!r} of tenant {tenant!r} has no version {number}; it has 1 to {len(known)}"
        raise Refusal(404, "VERSION_NOT_FOUND", message)

    def _release(self, tenant: str, model: str) -> Any:
        if (tenant, model) not in self.releases:
            raise Refusal(
                404,
                "RELEASE_NOT_FOUND",
                f"model {model!r} of tenant {tenant!r} has no release",
                "`tenon release set` makes one",
            )
        return self.releases[tenant, model][-1]

    def _set_release(self, tenant: str, model: str, body: dict[str, Any]) -> Any:
        known = {version["version"]: version for version in self.versions.get((tenant, model), [])}
        if not known:
            raise Refusal(404, "MODEL_NOT_FOUND", f"tenant {tenant!r} has no model {model!r}")
        tracks = []
        for role in ("stable", "canary", "shadow"):
            if (number := body.get(role)) is None:
                continue
            if number not in known:
                raise Refusal(
                    404,
                    "VERSION_NOT_FOUND",
                    f"model {model!r} of tenant {tenant!r} has no version {number}; it has 1 to {max(known)}",
                )
            if not known[number]["gates_passed"] and not body["force"]:
                raise Refusal(
                    412,
                    "GATES_FAILED",
                    f"version {number} failed 1 gate: roc_auc",
                    "release it all the same with --force",
                )
            weight = body["canary_weight"] if role == "canary" else None
            tracks.append(
                {"role": role, "version": number, "bundle_sha256": known[number]["bundle_sha256"], "weight": weight}
            )
        return self._add(tenant, model, tracks, "set")

    def _add(
        self, tenant: str, model: str, tracks: list[dict[str, Any]], action: str, origin: int | None = None
    ) -> Any:
        history = self.releases.setdefault((tenant, model), [])
        if history and history[-1]["tracks"] == tracks:
            return history[-1] | {"change": "unchanged"}
        history.append({"tenant": tenant, "model": model, "revision": len(history) + 1, "tracks": tracks, "action": action,
                        "from_revision": origin, "created_at": "2026-01-01T00:00:00Z", "created_by": "admin", "reason": ""})  # fmt: skip
        if not self.slow_predictor:
            self.serves[tenant, model] = history[-1]
        return history[-1] | {"change": "created"}

    def _promote(self, tenant: str, model: str) -> Any:
        tracks = self._release(tenant, model)["tracks"]
        canary = next((track for track in tracks if track["role"] == "canary"), None)
        if canary is None:
            raise Refusal(412, "NO_CANARY", "there is no canary to promote: revision 1 serves only version 1",
                          "start one with `tenon release set --canary VERSION --weight 20`")  # fmt: skip
        return self._add(tenant, model, [canary | {"role": "stable", "weight": None}], "promote")

    def _roll_back(self, tenant: str, model: str, body: dict[str, Any]) -> Any:
        current = self._release(tenant, model)
        target = body["to_revision"] or current["revision"] - 1
        if target < 1:
            raise Refusal(412, "NO_EARLIER_RELEASE", "there is nothing before revision 1 to roll back to",
                          "name a revision of `tenon release history`, or set a release")  # fmt: skip
        if target > current["revision"]:
            raise Refusal(
                404, "REVISION_NOT_FOUND", f"model {model!r} of tenant {tenant!r} has no release revision {target}"
            )
        return self._add(tenant, model, self.releases[tenant, model][target - 1]["tracks"], "rollback", target)

    def _serving(self, tenant: str, model: str | None = None) -> Any:
        desired = [history[-1] for (t, m), history in self.releases.items() if t == tenant and model in (None, m)]
        models = [
            {"model": m, "revision": served["revision"], "tracks": served["tracks"], "problem": None}
            for (t, m), served in self.serves.items() if t == tenant and model in (None, m)
        ]  # fmt: skip
        replica = {
            "replica": "predictor-1",
            "reported_at": "2026-01-01T00:00:00Z",
            "settled": len(models) == len(desired),
            "pinned": [],
            "models": models,
        }
        return {
            "tenant": tenant,
            "desired": desired if model is None else next(iter(desired), None),
            "replicas": [replica, *self.pinned_replicas],
            "disagreements": self.disagreements,
            "settled": True,
        }

    def _report(self, tenant: str, model: str) -> Any:
        if not self.labels:
            raise Refusal(
                404, "MODEL_NOT_SEEN", f"no predictions or labels of a model {model!r} have arrived for tenant {tenant}"
            )
        column = {"column": "amount", "verdict": "drift", "summary": "larger than in training", "psi": 0.4, "p_value": 0.001, "rows": 500,
                  "missing_ratio": 0.1, "baseline_missing_ratio": 0.0}  # fmt: skip
        return {"tenant": tenant, "model": model, "summary": "amount drifted.", "drift_verdict": "drift", "quality_verdict": "not_enough_evidence",
                "window_start": "2026-01-01T00:00:00Z", "window_end": "2026-01-08T00:00:00Z", "predictions": 500, "labels": len(self.labels),
                "columns": [column], "quality": [], "versions": [{"version": 1, "role": "stable", "predictions": 500}]}  # fmt: skip

    def _label(self, body: dict[str, Any]) -> Any:
        self.labels += body["labels"]
        return {"accepted": len(body["labels"]), "matched": len(body["labels"]), "unmatched": 0}

    def _served_columns(self, tenant: str, model: str) -> dict[str, str]:
        if (tenant, model) not in self.serves:
            near = did_you_mean(model, [m for t, m in self.serves if t == tenant])
            raise Refusal(
                404, "MODEL_NOT_FOUND", f"model {model!r} is not served", f"did you mean {near!r}?" if near else None
            )
        return {"channel": "BYTES", "items": "INT64", "amount": "FP64", "customer": "BYTES", "ordered_at": "BYTES"}

    def _metadata(self, tenant: str, model: str) -> Any:
        return {
            "inputs": [{"name": name, "datatype": kind} for name, kind in self._served_columns(tenant, model).items()]
        }

    def _predict(self, tenant: str, model: str, body: dict[str, Any]) -> Any:
        known = self._served_columns(tenant, model)
        predictions = []
        for row, instance in enumerate(body["instances"]):
            for name, value in (instance.get("entity", {}) | instance["features"]).items():
                if name not in known:
                    near = did_you_mean(name, known)
                    raise Refusal(
                        400,
                        "INPUT_UNKNOWN",
                        f"model {model!r} has no input {name!r}",
                        f"did you mean {near!r}?" if near else None,
                    )
                if known[name] != "BYTES" and isinstance(value, str):
                    raise Refusal(400, "VALUE_TYPE", f"column {name!r}, row {row}: a number is expected, not {value!r}")
            predictions.append({"prediction_id": f"p{row}", "value": 0.25, "output": "probability", "model_version": 1, "role": "stable",
                                "fallback": []})  # fmt: skip
            if body.get("explain"):
                given = instance.get("entity", {}) | instance["features"]
                parts = [{"column": name, "value": given.get(name), "contribution": (-1) ** at / (at + 1)}
                         for at, name in enumerate([*known, *(f"extra_{at}" for at in range(20))])]  # fmt: skip
                predictions[-1] |= {
                    "label": False, "interval": {"low": 0.1, "high": 0.5, "coverage": 0.9},
                    "explanation": {"space": "log-odds", "base": -1.5, "margin": -1.0986, "contributions": parts},
                }  # fmt: skip
        return {"tenant": tenant, "model": model, "request_id": "r1", "predictions": predictions}
