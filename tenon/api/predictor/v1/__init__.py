"""Stubs made from proto/tenon/api/predictor/v1/predictor.proto by `make proto`; not edited."""
