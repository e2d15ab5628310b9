"""The prediction log: what arrives is checked, kept, counted, and forgotten on request."""
