"""`python -m services.features` runs the service."""

from services.features.main import main

main()
