#!/usr/bin/env bash
# stop.sh DIR: ends the Tryton server started in DIR.
exec "$(dirname "$0")/../stop_by_pid.sh" "$1"
