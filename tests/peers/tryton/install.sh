#!/usr/bin/env bash
# install.sh [CACHE]: Tryton in a virtual environment below CACHE, and a snapshot of a freshly set up company.
# Does nothing when both are there already and made from these very files.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${1:-${VAIVEN_CACHE:-$HOME/.cache/vaiven}}
home=$cache/tryton
mkdir -p "$home"
exec 9>"$home/lock"
flock 9

packages=$(sha256sum <"$here/requirements.txt" | cut -c1-16)
company=$(cat "$here/requirements.txt" "$here/company.py" "$here/trytond.conf" | sha256sum | cut -c1-16)

if [ "$(cat "$home/packages" 2>/dev/null)" != "$packages" ]; then
    python=/usr/bin/python3
    if ! "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3 python3-venv
    fi
    rm -rf "$home/venv"
    "$python" -m venv "$home/venv"
    "$home/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
    echo "$packages" >"$home/packages"
    rm -f "$home/company"
fi

if [ "$(cat "$home/company" 2>/dev/null)" != "$company" ]; then
    work=$(mktemp -d "$home/setup.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/db"
    touch "$work/db/erp.sqlite"
    sed "s#@DIR@#$work#; s#@PORT@#0#" "$here/trytond.conf" >"$work/trytond.conf"
    echo 'admin-lab-1234' >"$work/password"
    admin() { TRYTONPASSFILE=$work/password "$home/venv/bin/trytond-admin" -c "$work/trytond.conf" -d erp "$@" 2>>"$work/log"; }
    {
        admin --all -l es --email admin@example.com &&
            admin -u sale stock account_product product_attribute --activate-dependencies -l es &&
            "$home/venv/bin/python" "$here/company.py" "$work/trytond.conf" erp
    } >>"$work/log" 2>&1 || { tail -30 "$work/log" >&2; exit 1; }
    mv "$work/db/erp.sqlite" "$home/erp.sqlite"
    echo "$company" >"$home/company"
fi
