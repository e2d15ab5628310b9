"""Databases, blobs and lake tables behind the domain's ports."""
