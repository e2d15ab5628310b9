"""`python -m services.trainer` runs the service, `… migrate` brings its tables up to date; the worker is `… worker`."""

from services.trainer.main import MIGRATIONS, main, main_worker
from tenon.kit.migrating import migrate_command
from tenon.kit.program import run_program

if __name__ == "__main__":
    run_program("trainer", main, migrate=lambda: migrate_command("trainer", MIGRATIONS), worker=main_worker)
