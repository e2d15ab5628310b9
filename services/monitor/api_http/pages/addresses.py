"""Where each page is."""

from __future__ import annotations

HOME = "/pages"
SIGN_IN = f"{HOME}/sign-in"


def tenant_url(tenant: str) -> str:
    """The address of a tenant's page."""
    return f"{HOME}/tenants/{tenant}"


def review_url(tenant: str, model: str) -> str:
    """The address of a model's review queue."""
    return f"{model_url(tenant, model)}/review"


def model_url(tenant: str, model: str) -> str:
    """The address of a model's page."""
    return f"{HOME}/tenants/{tenant}/models/{model}"


def incidents_url(tenant: str) -> str:
    """The address of a tenant's incidents; of everybody's when `tenant` is empty."""
    return f"{tenant_url(tenant) if tenant else HOME}/incidents"


def incident_url(tenant: str, incident: str) -> str:
    """The address of one incident, as its tenant sees it or (`tenant` is empty) the operator."""
    return f"{incidents_url(tenant)}/{incident}"
