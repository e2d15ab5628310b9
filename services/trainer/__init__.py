"""The trainer: what models a tenant wants, and the runs that train them."""
