"""Real flights: an airline is a tenant, a late arrival is the label."""
