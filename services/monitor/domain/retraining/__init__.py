"""When a model should be trained anew."""
