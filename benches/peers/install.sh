#!/bin/sh
# Installs what the side-by-side run needs and the machine lacks: nginx, haproxy and caddy, wrk to make the load, PostgreSQL's server.
# A proxy that cannot be had is left out of the run, but not nginx: it is what the others are measured by, and the target behind them.
set -eu

missing=
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
for package in nginx haproxy caddy wrk; do
    have "$package" || missing="$missing $package"
done
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || have initdb || missing="$missing postgresql"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "please install:$missing" >&2
    exit 1
fi
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
# The run starts what it measures itself: a policy of 101 keeps the packages from starting theirs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod +x "$policy"
    trap '$as_root rm -f "$policy"' EXIT
fi
$as_root apt-get update -q
for package in $missing; do
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$package" || echo "without $package" >&2
done
have nginx && have wrk
