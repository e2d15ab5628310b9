"""The registry: tenants and keys, model versions, releases, what is really served, and the audit log."""
