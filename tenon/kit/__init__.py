"""The plumbing of every service, one module a concern. Imports no service."""
