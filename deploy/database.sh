#!/bin/sh
# Run PostgreSQL on a Unix socket alone; make the cluster, the role and the database where there are none yet.
# PGDATA and SOCKETS name other folders than those of the image.
set -eu
data=${PGDATA:-/var/lib/postgresql/gallery}
sockets=${SOCKETS:-/run/postgresql}
programs=/usr/lib/postgresql/15/bin

if [ ! -e "$data" ]; then
    # beside it, and put in its place when it is whole: a start that was killed is made anew
    rm -rf "$data.new"
    "$programs/initdb" --pgdata "$data.new" --encoding UTF8 --locale C.UTF-8 --data-checksums \
        --auth-local peer --auth-host reject
    # of a single user the server takes one statement a line
    printf '%s\n' 'CREATE ROLE facekd LOGIN' 'CREATE DATABASE gallery OWNER facekd' \
        'REVOKE CONNECT, TEMPORARY ON DATABASE gallery FROM PUBLIC' |
        "$programs/postgres" --single -D "$data.new" postgres
    mv "$data.new" "$data"
fi
exec "$programs/postgres" -D "$data" -c listen_addresses= -c unix_socket_directories="$sockets" \
    -c wal_recycle=off
