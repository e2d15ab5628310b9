#!/bin/bash
# Run once, when the volume is empty: a database and a role for each service that keeps tables. None can connect to another's.
set -euo pipefail

make_database() { # make_database NAME PASSWORD
  # The password comes in through psql's own variable, which quotes it.
  psql --no-psqlrc -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "${POSTGRES_DB:-$POSTGRES_USER}" \
    -v name="$1" -v password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

make_database registry "$REGISTRY_PASSWORD"
make_database ingest "$INGEST_PASSWORD"
make_database features "$FEATURES_PASSWORD"
make_database trainer "$TRAINER_PASSWORD"
make_database monitor "$MONITOR_PASSWORD"
