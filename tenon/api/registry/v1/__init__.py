"""Stubs made from proto/tenon/api/registry/v1/registry.proto by `make proto`; not edited."""
