"""Everything put together for a reader: one model, a month, the fleet."""
