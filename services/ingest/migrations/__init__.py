"""Alembic migrations of ingest's database."""
