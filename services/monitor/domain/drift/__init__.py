"""Differences between what comes in and what a model was trained on, from histograms."""
