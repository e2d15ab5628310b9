"""The services the predictor asks: registry and features."""
