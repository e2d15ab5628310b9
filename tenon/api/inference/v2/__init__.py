"""Stubs made from proto/tenon/api/inference/v2/inference.proto by `make proto`; not edited."""
