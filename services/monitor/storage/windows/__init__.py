"""Windows: what was counted and sketched of stretches of time."""
