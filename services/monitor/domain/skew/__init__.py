"""Train/serve skew by value."""
