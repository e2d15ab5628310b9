"""Labels by prediction, by entity and time, and from data sets."""
