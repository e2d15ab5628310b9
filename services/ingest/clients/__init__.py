"""Other services, behind the domain's ports."""
