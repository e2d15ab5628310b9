"""What the predictor does, without any transport, storage or library that could be another one tomorrow."""
