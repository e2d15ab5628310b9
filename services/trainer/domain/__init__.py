"""Rules of training: honest splits, honest figures, and the life of a run."""
