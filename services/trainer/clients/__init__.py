"""Other services, as ports of the domain."""
