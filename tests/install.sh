#!/bin/sh
# Installs what the tests need and the machine lacks: a PostgreSQL server. Needs no more than a Debian-like system and the right to install.
set -eu

have_postgres() {
    command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

if have_postgres; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "the tests need PostgreSQL's server programs (initdb, postgres): please install them" >&2
    exit 1
fi
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
# The tests start their own servers: a policy of 101 keeps the package from starting one.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod +x "$policy"
    made=yes
fi
$as_root apt-get update -q
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends postgresql
[ -z "$made" ] || $as_root rm -f "$policy"
have_postgres
