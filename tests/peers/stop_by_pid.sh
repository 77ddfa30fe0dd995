#!/usr/bin/env bash
# Ends the server whose process id stands in DIR/pid: stop_by_pid.sh DIR
set -euo pipefail
pid_file=$1/pid
[ -f "$pid_file" ] || exit 0
pid=$(cat "$pid_file")
kill "$pid" 2>/dev/null || true
for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
done
kill -9 "$pid" 2>/dev/null || true
rm -f "$pid_file"
