"""Incidents, and messages on their way to webhooks."""
