#!/bin/bash
# A private PostgreSQL cluster for tests: `postgres.sh start DIR` prints its URL, `postgres.sh stop DIR` ends it.
# Listens on a free loopback port, trusts local connections, does not wait for the disk. Installs the package if missing.
set -euo pipefail

usage() {
    echo "usage: $0 start DIR | stop DIR" >&2
    exit 2
}

binaries() {
    local found
    found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    if [ -z "$found" ]; then
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends postgresql; } >&2
        found=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    fi
    echo "$found"
}

# PostgreSQL refuses to run as root.
as_owner() {
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

free_port() {
    local port
    for port in $(shuf -i 20000-32000 -n 50); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    echo "no free port found" >&2
    exit 1
}

start() {
    local dir=$1 bin port
    bin=$(binaries)
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    if [ -f "$dir/url" ] && as_owner "$bin/pg_ctl" -D "$dir/data" status >/dev/null 2>&1; then
        cat "$dir/url"
        return
    fi
    if [ ! -f "$dir/data/PG_VERSION" ]; then
        [ "$(id -u)" != 0 ] || chown postgres "$dir"
        as_owner "$bin/initdb" -D "$dir/data" -U vaiven -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$dir.initdb.log" 2>&1 ||
            { cat "$dir.initdb.log" >&2; exit 1; }
        rm -f "$dir.initdb.log"
    fi
    # Where it was before, so that whoever is connected finds it again.
    port=$(cat "$dir/port" 2>/dev/null || free_port)
    echo "$port" >"$dir/port"
    as_owner "$bin/pg_ctl" -D "$dir/data" -w -t 60 -l "$dir/log" start -o "-p $port -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories='' -c fsync=off -c synchronous_commit=on -c full_page_writes=off \
        -c max_connections=200 -c shared_buffers=128MB -c max_wal_size=4GB" >&2
    as_owner "$bin/psql" -q "postgres://vaiven@127.0.0.1:$port/postgres" -c "SELECT 1 FROM pg_database" >/dev/null
    as_owner "$bin/createdb" -h 127.0.0.1 -p "$port" -U vaiven vaiven 2>/dev/null || true
    echo "postgres://vaiven@127.0.0.1:$port/vaiven" >"$dir/url"
    cat "$dir/url"
}

stop() {
    local dir=$1 bin
    bin=$(binaries)
    dir=$(cd "$dir" && pwd)
    as_owner "$bin/pg_ctl" -D "$dir/data" -m fast -w stop >&2
    rm -f "$dir/url"
}

[ $# = 2 ] || usage
case $1 in
start) start "$2" ;;
stop) stop "$2" ;;
*) usage ;;
esac
