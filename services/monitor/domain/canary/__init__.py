"""Verdicts on canaries and shadows."""
