#!/usr/bin/env bash
# The live pair: Tryton as ERP, Vendure as shop, Vaivén between them. Prints `N passed, N failed`; exits 1 if any failed.
#
#   VAIVEN        the binary (default target/release/vaiven)
#   VAIVEN_CACHE  where the servers are installed (default ~/.cache/vaiven)
#   KILLS         how often the daemon is killed while orders come in (default 10)
#   KEEP          set: the working folder is left there to be looked at
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
peers=$root/tests/peers
cache=${VAIVEN_CACHE:-$HOME/.cache/vaiven}
binary=$(realpath "${VAIVEN:-$root/target/release/vaiven}")
kills=${KILLS:-10}
work=$(mktemp -d)
passed=0 failed=0 daemon=

cleanup() {
    [ -n "$daemon" ] && kill -9 "$daemon" 2>/dev/null || true
    "$peers/tryton/stop.sh" "$work/erp"
    "$peers/vendure/stop.sh" "$work/shop"
    if [ -n "${KEEP:-}" ]; then echo "left in $work"; else rm -rf "$work"; fi
}
trap cleanup EXIT

# verdict NAME COMMAND...: runs the command, counts it, shows its output only when it fails.
verdict() {
    local name=$1 started=$SECONDS
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
        echo "ok    $name ($((SECONDS - started)) s)"
    else
        failed=$((failed + 1))
        echo "FAIL  $name ($((SECONDS - started)) s)"
        tail -40 "$work/out" | sed 's/^/      /'
    fi
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start_peers() {
    "$peers/tryton/install.sh" "$cache"
    "$peers/vendure/install.sh" "$cache"
    erp=$("$peers/tryton/start.sh" "$cache" "$work/erp" "$(free_port)")
    shop=$("$peers/vendure/start.sh" "$cache" "$work/shop" "$(free_port)")
}

configure() {
    mkdir "$work/vaiven"
    sed "s#http://127.0.0.1:8000#$erp#; s#http://127.0.0.1:3000#$shop#; s#^every .*#every = \"*/2 * * * * *\"#" \
        "$root/config/tryton-vendure.toml" >"$work/vaiven/vaiven.toml"
    printf '\n[paths]\nadapters = ["%s/adapters"]\nmappings = ["%s/mappings"]\n' "$root" "$root" >>"$work/vaiven/vaiven.toml"
    # Answers come from this machine: what was cut off is carried out at once or never.
    sed -i 's/^\[systems\..*/&\nlimits = { settle = "1s" }/' "$work/vaiven/vaiven.toml"
}

vaiven() { (cd "$work/vaiven" && ERP_PASSWORD=api-lab-1234 SHOP_PASSWORD=superadmin exec "$binary" "$@"); }
seed() { python3 "$peers/seed.py" "$1" "$erp" "${@:2}"; }
equal() { python3 "$peers/compare.py" "$erp" "$shop"; }
once() { vaiven run --once; }

# A run that writes nothing and leaves nothing to do.
quiet() { vaiven run --once --json | tee "$work/quiet.json" | python3 "$here/quiet.py"; }

checkout() { python3 "$peers/checkout.py" "$shop" "$@"; }

start_daemon() {
    (cd "$work/vaiven" && ERP_PASSWORD=api-lab-1234 SHOP_PASSWORD=superadmin exec setsid "$binary" run >>"$work/daemon.log" 2>&1) &
    daemon=$!
}

# Visitors buy while the daemon is killed again and again; each start finds what the last one left.
kill_while_buying() {
    checkout 12 100 >"$work/orders" &
    local buyers=$!
    for _ in $(seq "$kills"); do
        start_daemon
        sleep "$(python3 -c 'import random; print(0.5 + 3.5 * random.random())')"
        kill -9 "$daemon"
        wait "$daemon" 2>/dev/null || true
        daemon=
    done
    wait "$buyers"
}

# Leaves the daemon alone until both systems tell the same.
settle() {
    start_daemon
    local until=$((SECONDS + $1))
    until equal >"$work/settling" 2>&1; do
        [ $SECONDS -lt $until ] || { cat "$work/settling"; tail -20 "$work/daemon.log"; vaiven jobs list; return 1; }
        sleep 1
    done
    kill "$daemon"
    wait "$daemon" || true
    daemon=
}

start_peers
seed fill 300
configure
verdict "the configuration and both connections are found good" vaiven check
verdict "a catalog, prices, stock and customers are brought over" once
verdict "both systems tell the same" equal
verdict "a second run writes nothing" quiet
seed change
verdict "changes and deletions are brought over" once
verdict "both systems tell the same after changes" equal
checkout 4 >"$work/first"
verdict "orders and new customers reach the ERP" once
verdict "both systems tell the same after orders" equal
seed ship $(head -3 "$work/first")
verdict "shipments reach the shop" once
verdict "both systems tell the same after shipments" equal
verdict "the shop's orders are in the state of their shipments" python3 "$here/states.py" "$shop" Delivered $(head -3 "$work/first")
verdict "the daemon is killed $kills times while visitors buy" kill_while_buying
verdict "every order and every customer is there exactly once after that" settle 90
verdict "a full pass repairs what drifted" vaiven run --resync catalog
verdict "both systems tell the same after the full pass" equal
verdict "nothing is left to do" quiet

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
