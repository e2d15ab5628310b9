"""Tests against a real Kubernetes control plane (see README.md)."""
