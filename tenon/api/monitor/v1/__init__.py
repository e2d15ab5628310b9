"""Stubs made from proto/tenon/api/monitor/v1/monitor.proto by `make proto`; not edited."""
