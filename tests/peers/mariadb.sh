#!/bin/bash
# A private MariaDB for tests: `mariadb.sh start DIR` prints its URL, `mariadb.sh stop DIR` ends it.
# Listens on a free loopback port, does not wait for the disk. Installs the package if missing.
set -euo pipefail

usage() {
    echo "usage: $0 start DIR | stop DIR" >&2
    exit 2
}

# The package would start a server of its own; a policy file forbids that while it is being installed.
install_server() {
    command -v mariadbd >/dev/null && return
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        made=1
    fi
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends mariadb-server; } >&2 || {
        [ -z "$made" ] || rm -f "$policy"
        exit 1
    }
    [ -z "$made" ] || rm -f "$policy"
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

alive() { [ -f "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2>/dev/null; }

start() {
    local dir=$1 port owner=()
    install_server
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    if [ -f "$dir/url" ] && alive "$dir"; then
        cat "$dir/url"
        return
    fi
    if [ "$(id -u)" = 0 ]; then
        owner=(--user=mysql)
        chown mysql "$dir"
    fi
    if [ ! -d "$dir/data/mysql" ]; then
        mariadb-install-db --no-defaults "${owner[@]}" --datadir="$dir/data" --auth-root-authentication-method=normal \
            --skip-test-db >"$dir.install.log" 2>&1 || { cat "$dir.install.log" >&2; exit 1; }
        rm -f "$dir.install.log"
    fi
    port=$(free_port)
    # Paths of the socket begin at the data folder: an absolute one may be longer than a socket's name can be.
    (exec mariadbd --no-defaults "${owner[@]}" --datadir="$dir/data" --port="$port" --bind-address=127.0.0.1 \
        --socket=socket --pid-file=own.pid --innodb-flush-log-at-trx-commit=0 --skip-log-bin \
        --character-set-server=utf8mb4 >"$dir/log" 2>&1 </dev/null) &
    echo $! >"$dir/pid"
    local tries=0
    until mariadb --no-defaults -h 127.0.0.1 -P "$port" -u root -e 'SELECT 1' >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ] || ! alive "$dir"; then
            tail -n 20 "$dir/log" >&2
            exit 1
        fi
        sleep 0.2
    done
    mariadb --no-defaults -h 127.0.0.1 -P "$port" -u root -e "CREATE DATABASE IF NOT EXISTS vaiven;
        CREATE USER IF NOT EXISTS vaiven@'127.0.0.1' IDENTIFIED BY 'vaiven'; CREATE USER IF NOT EXISTS vaiven@localhost IDENTIFIED BY 'vaiven';
        GRANT ALL ON *.* TO vaiven@'127.0.0.1'; GRANT ALL ON *.* TO vaiven@localhost"
    echo "mysql://vaiven:vaiven@127.0.0.1:$port/vaiven" >"$dir/url"
    cat "$dir/url"
}

stop() {
    local dir tries=0
    dir=$(cd "$1" && pwd)
    alive "$dir" || { rm -f "$dir/url" "$dir/pid"; return; }
    kill "$(cat "$dir/pid")"
    while alive "$dir"; do
        tries=$((tries + 1))
        [ $tries -le 300 ] || { echo "it does not end" >&2; exit 1; }
        sleep 0.2
    done
    rm -f "$dir/url" "$dir/pid"
}

[ $# = 2 ] || usage
case $1 in
start) start "$2" ;;
stop) stop "$2" ;;
*) usage ;;
esac
