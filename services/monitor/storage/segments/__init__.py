"""Segments: the log's rows, in the database and in lake tables."""
