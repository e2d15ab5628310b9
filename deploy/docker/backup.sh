#!/usr/bin/env bash
# Copies everything that a platform under docker-compose keeps into a new folder: deploy/docker/backup.sh FOLDER
#
# All services but the predictor stop for the time of the copy, so that tables, objects and queue are of one moment; the
# predictor answers on. Run it where docker-compose.yml is, with the variables that `docker compose up` had, if any.
# docs/operate/backup.md says what is in it.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,6p' "$0" | sed 's/^# \{0,1\}//'; exit 2; }
target=$1
secrets=${TENON_SECRETS:-deploy/docker/secrets}
databases=(registry ingest features trainer monitor)
volumes=(redis objects registry ingest features trainer worker monitor)
export COMPOSE_PROFILES=core
umask 077

fail() { echo "error: $*" >&2; exit 1; }
# What Compose says is worth reading only when it fails.
quietly() { local said; said=$("$@" 2>&1 </dev/null) || { printf '%s\n' "$said" >&2; return 1; }; }
again() { quietly docker compose up --wait --no-recreate || echo "error: not everything runs again; try: docker compose up --wait" >&2; }

tar_options=()
# Volumes as one tar: the object store keeps what it knows of an object in extended attributes of its file.
packed() {
  local mounts=() volume
  for volume in "$@"; do mounts+=(--volume "${project}_$volume:/kept/$volume:ro"); done
  docker run --rm --network none --user 10001:10001 "${mounts[@]}" --entrypoint tar "$image" --create --file=- --directory=/kept \
    --xattrs --xattrs-include='user.*' "${tar_options[@]}" "$@"
}

[ ! -e "$target" ] || fail "$target is there already"
[ -e "$secrets/platform.env" ] || fail "there are no secrets in $secrets: run it where docker-compose.yml is"
# Read whole before it is searched: whoever writes to a pipe that was closed early fails.
there=$(docker compose config --services)
for store in postgres redis objects; do
  grep -qx "$store" <<<"$there" || fail "$store does not run here; a store of your own is copied by its own means"
done
project=$(docker compose config | sed -n 's/^name: //p')
image=$(docker compose config --images | sort -u | grep 'tenon/registry:')

mkdir -p "$target"
cp -a "$secrets" "$target/secrets"
[ ! -e .env ] || cp .env "$target/env"
trap again EXIT
quietly docker compose stop registry ingest features trainer worker monitor
# Redis ends with its file on the disk.
quietly docker compose stop redis
for database in "${databases[@]}"; do
  docker compose exec -T postgres sh -c \
    'PGPASSWORD=$POSTGRES_PASSWORD exec pg_dump --format=custom --host=127.0.0.1 --username="$POSTGRES_USER" "$1"' sh "$database" \
    </dev/null >"$target/$database.dump"
done
packed "${volumes[@]}" | gzip -1 >"$target/volumes.tar.gz"
# A predictor's is written on: tar says so with 1, and predictors read a log that ends in the middle of a row.
tar_options=(--warning=no-file-changed)
{ packed $(docker compose config --volumes | grep '^predictor' | sort) || [ $? = 1 ]; } | gzip -1 >"$target/predictor.tar.gz"
# Made last: a copy without it was not finished.
(cd "$target" && find . -type f ! -name '*SUMS' -exec sha256sum {} + >SUMS && mv SUMS SHA256SUMS)
echo "$target: $(du -sh "$target" | cut -f1)"
