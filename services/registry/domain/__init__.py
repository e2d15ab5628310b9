"""Rules and use cases of the registry; knows no transport and no storage."""
