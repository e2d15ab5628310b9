"""What the predictor keeps on its own disk: bundle cache, last known releases, prediction spool."""
