#!/usr/bin/env bash
# install.sh [CACHE]: Vendure with its native modules below CACHE, and a snapshot of a freshly set up shop.
# Does nothing when both are there already and made from these very files.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${1:-${VAIVEN_CACHE:-$HOME/.cache/vaiven}}
home=$cache/vendure
node_version=22.23.3
mkdir -p "$home"
exec 9>"$home/lock"
flock 9

packages=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum | cut -c1-16)
shop=$(cat "$here/package-lock.json" "$here/server.js" "$here/prepare.py" | sha256sum | cut -c1-16)

apt_install() { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"; }

# Sets `node` and `headers`: the system's Node.js if it is new enough and has its headers, else one of its own.
choose_node() {
    if node -e 'process.exit(+process.versions.node.split(".")[0] < 20)' 2>/dev/null && [ -f /usr/include/node/node_version.h ] &&
        [ "$(readlink -f "$(command -v node)")" = /usr/bin/node ]; then
        node=/usr/bin/node headers=/usr
        return
    fi
    command -v npm >/dev/null || apt_install nodejs npm
    case $(uname -m) in
        x86_64) kind=linux-x64 ;;
        aarch64) kind=linux-arm64 ;;
        *) echo "no Node.js of our own for $(uname -m): install Node.js 20 or later with its headers" >&2; exit 1 ;;
    esac
    npm install --prefix "$home/node" --no-audit --no-fund --silent "node-$kind@$node_version"
    headers=$home/node/node_modules/node-$kind
    node=$headers/bin/node
}

if [ "$(cat "$home/packages" 2>/dev/null)" != "$packages" ]; then
    command -v python3 >/dev/null && command -v g++ >/dev/null && command -v make >/dev/null || apt_install build-essential python3
    choose_node
    command -v npm >/dev/null || apt_install npm
    rm -rf "$home/node_modules"
    cp "$here/package.json" "$here/package-lock.json" "$home/"
    # The compiled module must fit the Node.js that will run it, hence its folder first in the path.
    (cd "$home" && PATH="$(dirname "$node"):$PATH" npm_config_nodedir=$headers npm ci --no-audit --no-fund >npm.log 2>&1 &&
        "$node" -e 'new (require("better-sqlite3"))(":memory:"); require("bcrypt")' 2>>npm.log) || { tail -30 "$home/npm.log" >&2; exit 1; }
    ln -sfn "$node" "$home/node-binary"
    echo "$packages" >"$home/packages"
    rm -f "$home/shop"
fi

if [ "$(cat "$home/shop" 2>/dev/null)" != "$shop" ]; then
    work=$(mktemp -d "$home/setup.XXXXXX")
    trap '"$here/stop.sh" "$work"; rm -rf "$work"' EXIT
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    rm -f "$home/shop.sqlite"
    url=$("$here/start.sh" "$cache" "$work" "$port")
    python3 "$here/prepare.py" "$url"
    "$here/stop.sh" "$work"
    python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("VACUUM INTO ?", [sys.argv[2]])' "$work/shop.sqlite" "$home/shop.sqlite"
    echo "$shop" >"$home/shop"
fi
