#!/bin/sh
# Makes, in a new PostgreSQL, the role that owns Yumen's tables and the role that Yumen connects as.
# Only for the second one does row-level security mean anything: it owns nothing.
set -eu
psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set database="$POSTGRES_DB" --set owner_password="$YUMEN_OWNER_PASSWORD" \
    --set app_password="$YUMEN_APP_PASSWORD" <<'SQL'
CREATE ROLE yumen_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE yumen_app LOGIN PASSWORD :'app_password';
ALTER DATABASE :"database" OWNER TO yumen_owner;
SQL
