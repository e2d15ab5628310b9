"""`python -m services.monitor` runs the service."""

from services.monitor.main import main

if __name__ == "__main__":
    main()
