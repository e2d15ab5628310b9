"""Stubs made from proto/tenon/api/ingest/v1/ingest.proto by `make proto`; not edited."""
