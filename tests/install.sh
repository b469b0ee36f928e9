#!/bin/sh
# Installs what the tests need and the machine lacks: a PostgreSQL server, and schemathesis in a Python environment of its own under
# target/. Needs no more than a Debian-like system and the right to install.
set -eu
cd "$(dirname "$0")/.."

have_postgres() {
    command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

have_python() {
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1
}

install() {
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "the tests need PostgreSQL's server programs (initdb, postgres) and Python 3 with venv: please install them" >&2
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
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$@"
    [ -z "$made" ] || $as_root rm -f "$policy"
}

have_postgres || install postgresql
have_postgres
have_python || install python3 python3-venv
have_python

# Installed afresh whenever the pinned versions change.
wanted=tests/schemathesis/requirements.txt
there=target/schemathesis
if ! cmp -s "$wanted" "$there/requirements.txt"; then
    rm -rf "$there"
    python3 -m venv "$there"
    "$there/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$wanted"
    cp "$wanted" "$there/requirements.txt"
fi
