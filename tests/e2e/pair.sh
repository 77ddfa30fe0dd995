#!/usr/bin/env bash
# The live pair: Tryton as ERP, Vendure as shop, Vaivén between them. Prints `N passed, N failed`; exits 1 if any failed.
#
#   VAIVEN        the binary (default target/release/vaiven)
#   VAIVEN_CACHE  where the servers are installed (default ~/.cache/vaiven)
#   KILLS         how often the daemon is ended while orders come in, every second time by SIGKILL (default 10)
#   KEEP          set: the working folder is left there to be looked at
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
peers=$root/tests/peers
cache=${VAIVEN_CACHE:-$HOME/.cache/vaiven}
binary=$(realpath "${VAIVEN:-$root/target/release/vaiven}")
kills=${KILLS:-10}
work=$(mktemp -d)
passed=0 failed=0 child=

cleanup() {
    trap - EXIT
    [ -z "$child" ] || kill -9 -- "-$child" 2>/dev/null || true
    "$peers/tryton/stop.sh" "$work/erp"
    "$peers/vendure/stop.sh" "$work/shop"
    if [ -n "${KEEP:-}" ]; then echo "left in $work"; else rm -rf "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# attempt COMMAND...: in a process group of its own, which ends with this script.
attempt() {
    local code=0
    set -m
    ("$@") >"$work/out" 2>&1 &
    child=$!
    set +m
    wait "$child" || code=$?
    child=
    return $code
}

# prepare COMMAND...: what the rest stands on.
prepare() {
    attempt "$@" || { echo "FAIL  $*"; tail -40 "$work/out" | sed 's/^/      /'; exit 1; }
}

# verdict NAME COMMAND...: runs the command, counts it, shows its output only when it fails.
verdict() {
    local name=$1 started=$SECONDS
    shift
    if attempt "$@"; then
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
    "$peers/tryton/install.sh" "$cache" &&
        "$peers/vendure/install.sh" "$cache" &&
        "$peers/tryton/start.sh" "$cache" "$work/erp" "$(free_port)" >"$work/erp.url" &&
        "$peers/vendure/start.sh" "$cache" "$work/shop" "$(free_port)" >"$work/shop.url"
}

configure() {
    mkdir "$work/vaiven"
    sed "s#http://127.0.0.1:8000#$erp#; s#http://127.0.0.1:3000#$shop#; s#^every .*#every = \"*/2 * * * * *\"#" \
        "$root/config/tryton-vendure.toml" >"$work/vaiven/vaiven.toml"
    # Both systems may change the names of products.
    sed -i 's/^stock  *= .*/&\nowners = { "product.name" = "shared" }/' "$work/vaiven/vaiven.toml"
    cat >>"$work/vaiven/vaiven.toml" <<'END'

[flows.names]
entities  = ["product"]
from      = "shop"
to        = ["erp"]
every     = "*/2 * * * * *"
fields    = { product = ["name"] }
on_delete = "ignore"
END
    printf '\n[paths]\nadapters = ["%s/adapters"]\nmappings = ["%s/mappings"]\n' "$root" "$root" >>"$work/vaiven/vaiven.toml"
    # Answers come from this machine: what was cut off is carried out soon or never.
    sed -i 's/^\[systems\..*/&\nlimits = { settle = "3s" }/' "$work/vaiven/vaiven.toml"
}

vaiven() { (cd "$work/vaiven" && ERP_PASSWORD=api-lab-1234 SHOP_PASSWORD=superadmin exec "$binary" "$@"); }
seed() { python3 "$peers/seed.py" "$1" "$erp" "${@:2}"; }
equal() { python3 "$peers/compare.py" "$erp" "$shop"; }
once() { vaiven run --once; }

# A run that writes nothing and leaves nothing to do.
quiet() { vaiven run --once --json | tee "$work/quiet.json" | python3 "$here/quiet.py"; }

both_ways() { python3 "$here/both_ways.py" "$1" "$erp" "$shop" "$binary" "$work/vaiven"; }

checkout() { python3 "$peers/checkout.py" "$shop" "$@"; }

start_daemon() {
    (cd "$work/vaiven" && ERP_PASSWORD=api-lab-1234 SHOP_PASSWORD=superadmin exec "$binary" run >>"$work/daemon.log" 2>&1) &
    daemon=$!
}

# Asks the daemon to stop: it has to be gone within 10 s, in good order.
stop_daemon() {
    local code=0 asked=$SECONDS
    kill "$daemon"
    wait "$daemon" || code=$?
    echo "exit $code after $((SECONDS - asked)) s"
    [ $code = 0 ] && [ $((SECONDS - asked)) -le 10 ]
}

# Visitors buy while the daemon is ended again and again, killed and asked to stop in turns; each start finds what the last one left.
end_while_buying() {
    local buyers daemon turn
    checkout $((kills * 6 / 5)) 100 &
    buyers=$!
    for turn in $(seq "$kills"); do
        start_daemon
        sleep "$(python3 -c 'import random; print(0.5 + 3.5 * random.random())')"
        if [ $((turn % 2)) = 0 ]; then
            kill -9 "$daemon"
            wait "$daemon" 2>/dev/null || true
        else
            stop_daemon || { kill "$buyers"; return 1; }
        fi
    done
    wait "$buyers"
}

# Leaves the daemon alone until both systems tell the same.
settle() {
    local daemon until=$((SECONDS + $1))
    start_daemon
    until equal >"$work/settling" 2>&1; do
        [ $SECONDS -lt $until ] || { cat "$work/settling"; tail -20 "$work/daemon.log"; vaiven jobs list; kill -9 "$daemon"; return 1; }
        sleep 1
    done
    kill "$daemon"
    wait "$daemon"
}

# A shop that takes connections and says nothing holds no stop up.
stop_beside_a_hanging_shop() {
    local daemon code=0
    kill -STOP "$(cat "$work/shop/pid")"
    start_daemon
    sleep 3
    stop_daemon || code=$?
    kill -CONT "$(cat "$work/shop/pid")"
    return $code
}

prepare start_peers
erp=$(cat "$work/erp.url") shop=$(cat "$work/shop.url")
prepare seed fill 300
configure
verdict "the configuration and both connections are found good" vaiven check
verdict "a catalog, prices, stock and customers are brought over" once
verdict "both systems tell the same" equal
verdict "a second run writes nothing" quiet
prepare seed change
verdict "changes and deletions are brought over" once
verdict "both systems tell the same after changes" equal
prepare checkout 4
bought=$(head -3 "$work/out")
verdict "orders and new customers reach the ERP" once
verdict "both systems tell the same after orders" equal
prepare seed ship $bought
verdict "shipments reach the shop" once
verdict "both systems tell the same after shipments" equal
verdict "the shop's orders are in the state of their shipments" python3 "$here/states.py" "$shop" Delivered $bought
verdict "the daemon is ended $kills times while visitors buy, by SIGKILL and SIGTERM in turns" end_while_buying
verdict "every order and every customer is there exactly once after that" settle 90
verdict "the daemon stops within 10 s while the shop hangs" stop_beside_a_hanging_shop
prepare seed delete
verdict "a full pass finds what was deleted" vaiven run --resync catalog
verdict "both systems tell the same after the full pass" equal
verdict "nothing is left to do" quiet


# What both sides do to one another; each of these looks at the systems alone.
export ERP_PASSWORD=api-lab-1234 SHOP_PASSWORD=superadmin
verdict "a name changed in two languages on two sides is merged" both_ways merge
verdict "a name changed on both sides waits for a person, who decides" both_ways conflict
verdict "a price of a tenth is held, rejected, corrected" both_ways typo
verdict "an emptied catalog empties no shop" both_ways emptied
verdict "a plan is what apply does, and nothing that changed since" both_ways plan
verdict "an undone run is undone" both_ways undo
verdict "counts and visitors meet, and nothing is sold twice" both_ways race
verdict "a shipment of one line of two is shown as such" both_ways partial
verdict "an order cancelled in the shop is cancelled in the ERP" both_ways cancelled
verdict "an order paid back in the shop gets one credit note in the ERP" both_ways refunded
verdict "an order that the ERP cancels or pays back is so in the shop, once" both_ways ended
verdict "half a cent of tax, rounded otherwise in the ERP, holds no order up" both_ways rounded
verdict "both systems tell the same in the end" equal
verdict "nothing is left to do in the end" quiet
verdict "what is sold and not sent is offered in no other shop, odd orders arrive" python3 "$here/reserved.py" "$erp" "$binary" "$work/second"

echo "took $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
