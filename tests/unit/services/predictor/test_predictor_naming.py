"""Tenants named by host, path or header."""

from __future__ import annotations

import pytest

from services.predictor.api_http.naming import below_prefix, named_by
from services.predictor.domain import naming
from services.predictor.domain.naming import HostNames, one_name
from tenon.core.errors import Invalid


@pytest.mark.parametrize(
    ("host", "tenant"),
    [
        ("acme.predict.example.org", "acme"),
        ("ACME.Predict.Example.org:8443", "acme"),
        ("predict.example.org", None),
        (".predict.example.org", None),
        ("acme.example.org", None),
        ("acmepredict.example.org", None),
        ("acme.predict.example.org.evil.com", None),
        ("10.0.0.7:8000", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("suffix", ["predict.example.org", ".predict.example.org"])
def test_a_host_names_a_tenant_by_its_first_label(suffix: str, host: str, tenant: str | None) -> None:
    """Only below the suffix, whatever the case and the port; asked twice, because the second time it is looked up."""
    hosts = HostNames(suffix)
    assert hosts.tenant(host) == tenant
    assert hosts.tenant(host) == tenant


def test_hosts_that_callers_invent_do_not_fill_the_memory() -> None:
    """However many and however long."""
    hosts = HostNames("x.org")
    for number in range(naming._KEPT + 10):
        hosts.tenant(f"t{number}.x.org")
    hosts.tenant("t" * 1000 + ".x.org")
    assert len(hosts._known) <= naming._KEPT
    assert max(map(len, hosts._known)) <= naming._LONGEST


def test_all_that_name_a_tenant_must_agree() -> None:
    """A header that says something else than path or host is a mistake of somebody, not a choice."""
    assert one_name((None, "", "acme", "acme")) == "acme"
    assert one_name((None, "")) is None
    with pytest.raises(Invalid, match="do not name the same"):
        one_name(("acme", None, "globex"))
    headers = {b"x-tenon-tenant": b"acme", b"host": b"globex.x.org"}
    assert named_by(headers, None, None) == "acme"
    assert named_by(headers, "acme", None) == "acme"
    with pytest.raises(Invalid):
        named_by(headers, "acme", HostNames("x.org"))


@pytest.mark.parametrize(
    "path", ["/tenants/acme/metrics", "/tenants/acme/docs", "/tenants/acme", "/tenants/acme/v3/x", "/v2"]
)
def test_a_tenants_path_leads_to_predictions_only(path: str) -> None:
    """What concerns the whole process (figures of all tenants, above all) does not come through a tenant's prefix."""
    scope = {"type": "http", "path": path}
    assert below_prefix(scope) is scope


def test_what_is_below_the_prefix_knows_its_tenant() -> None:
    """The path stays as it came; the part before the protocol is the application's root."""
    found = below_prefix({"type": "http", "path": "/tenants/acme/v2/models/late/ready"})
    assert (found["root_path"], found["tenon.named"]) == ("/tenants/acme", "acme")
    assert found["path"] == "/tenants/acme/v2/models/late/ready"
