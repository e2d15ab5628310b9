"""Counting values into bins and codes into levels, in place: a C kernel, or numpy where it was not built (same counts)."""

from __future__ import annotations

from tenon.histograms.compiled import Counts, count_codes, count_numbers

__all__ = ["Counts", "count_codes", "count_numbers"]
