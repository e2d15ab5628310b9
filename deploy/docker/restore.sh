#!/usr/bin/env bash
# Puts a copy made by backup.sh onto a host that has no platform yet: deploy/docker/restore.sh FOLDER
#
# Run it where docker-compose.yml is, of the same version as the copy's. It touches nothing where a platform is already.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,4p' "$0" | sed 's/^# \{0,1\}//'; exit 2; }
source=$(realpath "$1")
secrets=${TENON_SECRETS:-deploy/docker/secrets}
databases=(registry ingest features trainer monitor)
volumes=(redis objects registry ingest features trainer worker monitor)
export COMPOSE_PROFILES=core

fail() { echo "error: $*" >&2; exit 1; }
quietly() { local said; said=$("$@" 2>&1) || { printf '%s\n' "$said" >&2; return 1; }; }
unpacked() {
  local mounts=() volume
  for volume in "$@"; do mounts+=(--volume "${project}_$volume:/kept/$volume"); done
  docker run --rm --interactive --network none --user 10001:10001 "${mounts[@]}" --entrypoint tar "$image" --extract --file=- \
    --directory=/kept --no-overwrite-dir --xattrs --xattrs-include='user.*'
}

[ -e "$source/SHA256SUMS" ] || fail "$source is no finished copy: it has no SHA256SUMS"
(cd "$source" && sha256sum --check --quiet SHA256SUMS) || fail "$source is damaged"
if [ -e "$secrets/platform.env" ]; then
  cmp -s "$source/secrets/platform.env" "$secrets/platform.env" || fail "$secrets holds other secrets than the copy; move them away"
  made=
else
  made=$secrets
fi
project=$(TENON_SECRETS=$source/secrets docker compose config | sed -n 's/^name: //p')
image=$(TENON_SECRETS=$source/secrets docker compose config --images | sort -u | grep 'tenon/registry:')
docker volume ls --quiet | grep -x "${project}_postgres" >&2 && fail "there is a platform here: this volume exists"
[ -z "$made" ] || (umask 077 && mkdir -p "$secrets" && cp -a "$source/secrets/." "$secrets")

# PostgreSQL makes the roles, with the passwords of the secrets, and empty databases; the volumes get their owners.
trap '[ $? = 0 ] || echo "error: not restored; before you try again: docker compose down --volumes" >&2' EXIT
quietly docker compose create
quietly docker compose up --wait postgres
quietly docker compose run --rm -T volumes </dev/null
for database in "${databases[@]}"; do
  docker compose exec -T postgres sh -c \
    'PGPASSWORD=$POSTGRES_PASSWORD exec pg_restore --exit-on-error --no-owner --role="$1" --host=127.0.0.1 --username="$POSTGRES_USER" --dbname="$1"' \
    sh "$database" <"$source/$database.dump"
done
gunzip -c "$source/volumes.tar.gz" | unpacked "${volumes[@]}"
gunzip -c "$source/predictor.tar.gz" | unpacked $(docker compose config --volumes | grep '^predictor')
quietly docker compose up --wait
echo "$source: restored"
