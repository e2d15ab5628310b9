"""Feature views, what they mean, and how their values are computed; no transport and no storage."""
