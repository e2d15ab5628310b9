"""Tenon: multi-tenant tabular machine learning in production."""

__version__ = "0.1.0"
