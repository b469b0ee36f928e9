#!/bin/sh
# Installs what the side-by-side run needs and the machine lacks: nginx, haproxy and caddy, wrk to make the load, PostgreSQL's server.
# A proxy that cannot be had is left out of the run, but not nginx: it is what the others are measured by, and the target behind them.
set -eu
. "$(dirname "$0")/../../tests/packages.sh"

missing=
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
for package in nginx haproxy caddy wrk; do
    have "$package" || missing="$missing $package"
done
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || have initdb || missing="$missing postgresql"
[ -n "$missing" ] || exit 0

# Split into words: names of packages.
# shellcheck disable=SC2086
install $missing
have nginx && have wrk
