"""Experts' review: which answers to look at, and what was decided."""
