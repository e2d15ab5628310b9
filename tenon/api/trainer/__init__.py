"""Stubs made from proto/ by `make proto`; not edited."""
