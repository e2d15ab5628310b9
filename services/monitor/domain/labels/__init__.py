"""Truths that come later: read, matched to predictions, kept with the time from which they were known."""
