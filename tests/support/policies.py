"""What NetworkPolicies let through, as Kubernetes defines it, told from rendered manifests."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """Who asks or is asked; one with an address is outside of the cluster."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


class Network:
    """The policies of some manifests: a pod that a policy selects for a direction may do in that
    direction only what some policy allows; both ends must agree."""

    def __init__(self, policies: Iterable[Manifest], namespaces: Mapping[str, Mapping[str, str]], home: str) -> None:
        self._policies = [item for item in policies if item["kind"] == "NetworkPolicy"]
        self._namespaces, self._home = namespaces, home

    def lets(self, asking: Pod, asked: Pod, port: int, protocol: str = "TCP") -> bool:
        """Whether a connection can be made."""
        return self._passes("Egress", asking, asked, port, protocol) and self._passes(
            "Ingress", asked, asking, port, protocol
        )

    def _passes(self, direction: str, here: Pod, there: Pod, port: int, protocol: str) -> bool:
        if here.address:
            return True
        about = [
            policy["spec"]
            for policy in self._policies
            if policy["metadata"].get("namespace", self._home) == here.namespace
            and direction in policy["spec"]["policyTypes"]
            and _selects(policy["spec"]["podSelector"], here.labels)
        ]
        rules = [rule for spec in about for rule in spec.get(direction.lower()) or ()]
        side = "to" if direction == "Egress" else "from"
        return not about or any(
            self._names(rule.get(side), there, here.namespace) and _has_port(rule.get("ports"), port, protocol)
            for rule in rules
        )

    def _names(self, peers: list[Manifest] | None, pod: Pod, home: str) -> bool:
        return not peers or any(self._is(peer, pod, home) for peer in peers)

    def _is(self, peer: Manifest, pod: Pod, home: str) -> bool:
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            return (
                bool(pod.address)
                and _within(pod.address, block["cidr"])
                and not any(_within(pod.address, other) for other in block.get("except", ()))
            )
        if pod.address:
            return False
        if "namespaceSelector" in peer:
            if not _selects(peer["namespaceSelector"], self._namespaces[pod.namespace]):
                return False
        elif pod.namespace != home:
            return False
        return _selects(peer.get("podSelector", {}), pod.labels)


def _selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for term in selector.get("matchExpressions", ()):
        value, operator = labels.get(term["key"]), term["operator"]
        if operator == "In" and value not in term["values"]:
            return False
        if operator == "NotIn" and value in term["values"]:
            return False
        if operator in ("Exists", "DoesNotExist") and (value is not None) != (operator == "Exists"):
            return False
    return True


def _has_port(ports: list[Manifest] | None, port: int, protocol: str) -> bool:
    return not ports or any(
        item.get("protocol", "TCP") == protocol
        and ("port" not in item or int(item["port"]) <= port <= int(item.get("endPort") or item["port"]))
        for item in ports
    )


def _within(address: str, block: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(block)
