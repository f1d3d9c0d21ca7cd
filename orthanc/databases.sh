#!/bin/sh
# Run once by the PostgreSQL image, when its volume is empty: a role and a database each for Orthanc's index and for
# segqa's ledger. Neither role sees the other's data; passwords come from files and never from a command line.
set -eu

secrets=${SECRETS_DIR:-/run/secrets}

make() {
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "${POSTGRES_DB:-postgres}" \
    --set "name=$1" --set "file=$2" <<'SQL'
\set password `cat :'file'`
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

make orthanc "$secrets/orthanc_database_password"
make segqa "$secrets/segqa_ledger_password"

# The plugin searches texts with trigrams; making an extension may need rights that its role does not have.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname orthanc \
  --command "CREATE EXTENSION IF NOT EXISTS pg_trgm"
