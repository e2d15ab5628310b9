"""Ingest: data set contracts, raw files, batches, quarantine and the lake tables."""
