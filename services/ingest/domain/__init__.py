"""Rules and use cases of ingest."""
