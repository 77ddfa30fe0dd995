#!/usr/bin/env bash
# start.sh CACHE DIR PORT: a private Vendure on 127.0.0.1:PORT with its data in DIR (from the snapshot at the first start,
# the data left there at the next ones). Prints the URL when the server answers; user and password `superadmin`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
home=$1/vendure dir=$2 port=$3
mkdir -p "$dir"
prepared=
if [ -f "$home/shop.sqlite" ]; then
    prepared=1
    [ -f "$dir/shop.sqlite" ] || cp "$home/shop.sqlite" "$dir/shop.sqlite"
fi
cd "$dir"
NODE_PATH=$home/node_modules PREPARED=$prepared setsid nohup "$home/node-binary" "$here/server.js" "$port" "$dir/shop.sqlite" \
    >"$dir/log" 2>&1 9>&- </dev/null &
echo $! >"$dir/pid"
for _ in $(seq 1200); do
    grep -qs '^READY' "$dir/log" && break
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
    sleep 0.05
done
grep -qs '^READY' "$dir/log" || { tail -20 "$dir/log" >&2; exit 1; }
echo "http://127.0.0.1:$port"
