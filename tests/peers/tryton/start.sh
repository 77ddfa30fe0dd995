#!/usr/bin/env bash
# start.sh CACHE DIR PORT: a private Tryton on 127.0.0.1:PORT with its data in DIR (from the snapshot at the first start,
# the data left there at the next ones). Prints the URL when the server answers; database `erp`, user `api`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
home=$1/tryton dir=$2 port=$3
mkdir -p "$dir/db"
[ -f "$dir/db/erp.sqlite" ] || cp "$home/erp.sqlite" "$dir/db/erp.sqlite"
sed "s#@DIR@#$dir#; s#@PORT@#$port#" "$here/trytond.conf" >"$dir/trytond.conf"
setsid nohup "$home/venv/bin/trytond" -c "$dir/trytond.conf" -d erp >"$dir/log" 2>&1 9>&- </dev/null &
echo $! >"$dir/pid"
"$home/venv/bin/python" "$here/../wait_http.py" "http://127.0.0.1:$port/rpc/" "$(cat "$dir/pid")" 60 \
    '{"id":1,"method":"common.server.version","params":[]}' || { tail -20 "$dir/log" >&2; exit 1; }
echo "http://127.0.0.1:$port"
