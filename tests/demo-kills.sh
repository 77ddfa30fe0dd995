#!/bin/bash
# Ends the demo at random moments of its life, every second time with SIGKILL, else with SIGTERM, after which it has to be gone
# within 10 s; starts it again in the same folder, and lets it come to its end: both sides must be equal and no order may exist
# twice. Several demos, at least KILLS kills in total.
#
#   tests/demo-kills.sh            VAIVEN=path/to/vaiven KILLS=50 SEED=7 tests/demo-kills.sh
set -euo pipefail
cd "$(dirname "$0")/.."
vaiven=${VAIVEN:-target/release/vaiven}
kills=${KILLS:-50}
per_demo=${KILLS_PER_DEMO:-13}
seed=${SEED:-$(( $(date +%s) % 30000 ))}
limit=${LIMIT:-420}   # seconds a demo may take once nobody kills it any more; a retry within 3 minutes is waited for

[ -x "$vaiven" ] || { echo "no $vaiven; build it first: cargo build --release" >&2; exit 1; }
RANDOM=$seed
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
echo "demo-kills: at least $kills kills, seed $seed"

# What the daemon was waiting for, from its state.
waits() {
    timeout 20 "$vaiven" status --config "$home/vaiven.toml" || true
    timeout 20 "$vaiven" jobs list --config "$home/vaiven.toml" || true
}

# A graceful stop finishes what is under way or gives it back.
gone_in_time() {
    local asked=$SECONDS
    while kill -0 "$pid" 2>/dev/null; do
        if [ $((SECONDS - asked)) -gt 10 ]; then
            echo "demo $demos still ran $((SECONDS - asked)) s after SIGTERM (seed $seed):" >&2
            tail -n 40 "$folder/log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

done_kills=0 demos=0
while [ "$done_kills" -lt "$kills" ]; do
    demos=$((demos + 1))
    home=$folder/demo-$demos
    in_demo=0
    while [ "$in_demo" -lt "$per_demo" ] && [ "$done_kills" -lt "$kills" ]; do
        "$vaiven" demo --once --dir "$home" --seed "$demos" >"$folder/log" 2>&1 &
        pid=$!
        # Some die while they start, some in the middle of things, some shortly before the end.
        case $((RANDOM % 3)) in
            0) millis=$((RANDOM % 500)) ;;
            1) millis=$((RANDOM % 2500)) ;;
            *) millis=$((RANDOM % 6000)) ;;
        esac
        sleep "$(printf '%d.%03d' $((millis / 1000)) $((millis % 1000)))"
        signal=KILL
        [ $((done_kills % 2)) = 0 ] || signal=TERM
        if ! kill -$signal "$pid" 2>/dev/null; then
            # It came to its end before: that end counts like any other, and the next demo begins.
            wait "$pid" || { echo "demo $demos failed after $in_demo kills (seed $seed):" >&2; cat "$folder/log" >&2; exit 1; }
            pid=
            break
        fi
        [ $signal = KILL ] || gone_in_time
        wait "$pid" 2>/dev/null || true
        pid=
        in_demo=$((in_demo + 1))
        done_kills=$((done_kills + 1))
    done
    if ! timeout "$limit" "$vaiven" demo --once --dir "$home" --seed "$demos" --json >"$folder/report" 2>"$folder/log"; then
        echo "demo $demos did not end well after $in_demo kills (seed $seed):" >&2
        tail -n 40 "$folder/log" "$folder/report" >&2
        waits >&2
        exit 1
    fi
    if ! grep -q '"duplicates": \[\]' "$folder/report"; then
        echo "demo $demos made something twice after $in_demo kills (seed $seed):" >&2
        cat "$folder/report" >&2
        exit 1
    fi
    echo "demo $demos: $in_demo kills, both sides equal, nothing twice"
    rm -rf "$home"
done
echo "demo-kills: $done_kills kills over $demos demos, all well"
