"""Predictor: answers predictions over the Open Inference Protocol and by entity, and logs every answer."""
