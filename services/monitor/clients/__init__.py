"""Other services, as monitor asks them."""
