"""A tenant's predictor under Flagger, as plain documents: what Flagger needs to be told, in its smallest form."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.support.fakes_predictor import PUBLIC_PEM

CANARY = 'namespace="{ns}",pod=~"{name}-[0-9a-f]+-[0-9a-z]+"'
PRIMARY = 'namespace="{ns}",pod=~"{name}-primary-[0-9a-f]+-[0-9a-z]+"'


def gate(true: str) -> str:
    """A query that Prometheus refuses (422) unless `true` has a result."""
    return (
        'vector(0) + on() (label_replace(vector(1),"x","1","","") or '
        f'(label_replace(vector(1),"x","2","","") unless on() ({true})))'
    )


def documents(ns: str, name: str, version: int, prometheus: str) -> list[dict[str, Any]]:
    """A Deployment pinned to a version, and the Canary that looks after it."""
    labels = {"app.kubernetes.io/name": name}
    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    canary, primary = CANARY.format(ns=ns, name=name), PRIMARY.format(ns=ns, name=name)
    asked, window = "tenon_predictor_requests_total", "10s"
    seen = f"sum(increase({asked}{{{canary}}}[{window}])) >= 10"
    unasked = f"(sum(increase({asked}{{{primary}}}[{window}])) >= 10) unless on() (sum({asked}{{{canary}}}) > 0)"

    def url(query: str) -> str:
        return f"{prometheus}/api/v1/query?query={quote(query, safe='')}"

    def template(metric: str, query: str) -> dict[str, Any]:
        return {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "MetricTemplate",
            "metadata": {"name": metric},
            "spec": {"provider": {"type": "prometheus", "address": prometheus}, "query": query},
        }

    pins = json.dumps([{"model": "stay", "version": version}])
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                        "containers": [
                            {
                                "name": "predictor",
                                "image": "tenon/predictor:test",
                                "securityContext": secure,
                                "ports": [
                                    {"name": "http", "containerPort": 8080},
                                    {"name": "grpc", "containerPort": 8081},
                                ],
                                "env": [
                                    {"name": "TENON_PREDICTOR_PINNED", "value": pins},
                                    {"name": "TENON_PREDICTOR_TENANTS", "value": '["acme"]'},
                                    {"name": "TENON_VERIFY_KEY_FILE", "value": "/etc/tenon/verify/verify.pem"},
                                    {"name": "TENON_DATA_DIR", "value": "/var/lib/tenon"},
                                ],
                                "volumeMounts": [
                                    {"name": "data", "mountPath": "/var/lib/tenon"},
                                    {"name": "verify", "mountPath": "/etc/tenon/verify"},
                                ],
                                "lifecycle": {"preStop": {"sleep": {"seconds": 2}}},
                                "readinessProbe": {
                                    "httpGet": {"path": "/readyz", "port": "http"},
                                    "periodSeconds": 1,
                                },
                            }
                        ],
                        "volumes": [
                            {"name": "data", "emptyDir": {}},
                            {"name": "verify", "secret": {"secretName": "verify"}},
                        ],
                    },
                },
            },
        },
        template(
            "errors",
            f'(sum(rate({asked}{{{canary},outcome!="answered"}}[{window}])) '
            f"/ (sum(rate({asked}{{{canary}}}[{window}])) > 0)) or vector(0)",
        ),
        {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": {"name": name},
            "spec": {
                "provider": "gatewayapi:v1",
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "progressDeadlineSeconds": 60,
                "service": {
                    "port": 8080,
                    "targetPort": "http",
                    "portDiscovery": True,
                    "hosts": [f"{name}.example.org"],
                    "gatewayRefs": [{"name": "gateway", "namespace": ns}],
                },
                "analysis": {
                    "interval": "10s",
                    "threshold": 2,
                    "maxWeight": 60,
                    "stepWeight": 30,
                    "metrics": [
                        {
                            "name": "errors",
                            "templateRef": {"name": "errors"},
                            "thresholdRange": {"max": 0.01},
                            "interval": "10s",
                        }
                    ],
                    "webhooks": [
                        {
                            "name": "seen-or-unasked",
                            "type": "confirm-traffic-increase",
                            "url": url(gate(f"({seen}) or ({unasked})")),
                        },
                        {"name": "seen", "type": "confirm-promotion", "url": url(gate(seen))},
                    ],
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "verify", "annotations": {"flagger.app/config-tracking": "disabled"}},
            "stringData": {"verify.pem": PUBLIC_PEM.decode()},
        },
    ]
