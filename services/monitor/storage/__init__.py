"""Monitor's own database: the prediction log, labels, manifests and verdicts."""
