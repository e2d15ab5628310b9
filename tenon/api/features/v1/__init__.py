"""Stubs made from proto/tenon/api/features/v1/features.proto by `make proto`; not edited."""
