"""Other services that this one asks."""
