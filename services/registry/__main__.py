"""`python -m services.registry` runs the service, `… migrate` brings its tables up to date."""

from services.registry.main import MIGRATIONS, main
from tenon.kit.migrating import migrate_command
from tenon.kit.program import run_program

if __name__ == "__main__":
    run_program("registry", main, migrate=lambda: migrate_command("registry", MIGRATIONS))
