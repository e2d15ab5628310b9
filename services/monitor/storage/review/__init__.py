"""The review queue and what experts decided."""
