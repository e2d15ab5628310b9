"""`python -m services.monitor` runs the service, `… migrate` brings its tables up to date."""

from services.monitor.main import main
from services.monitor.main.parts import MIGRATIONS
from tenon.kit.migrating import migrate_command
from tenon.kit.program import run_program

if __name__ == "__main__":
    run_program("monitor", main, migrate=lambda: migrate_command("monitor", MIGRATIONS))
