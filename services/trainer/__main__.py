"""`python -m services.trainer` runs the API; the worker is `python -m services.trainer.worker`."""

from services.trainer.main import main

main()
