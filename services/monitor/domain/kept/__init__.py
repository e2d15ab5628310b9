"""The forms in which the log is kept: segments of rows, and windows that were counted."""
