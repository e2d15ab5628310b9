"""Sliding windows over events: one kernel for many entities' histories and for one entity's blob."""
