"""Stubs made from proto/tenon/api/trainer/v1/trainer.proto by `make proto`; not edited."""
