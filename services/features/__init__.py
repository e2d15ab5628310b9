"""The features service: feature views, training sets, the online store."""
