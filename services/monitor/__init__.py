"""Monitor: the prediction log, delayed labels, and honest verdicts on each tenant's models."""
