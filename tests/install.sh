#!/bin/sh
# Installs what the tests need and the machine lacks: a PostgreSQL server, curl, valgrind for the instruction budget, Node with the packages
# that tests/clients locks, and schemathesis in a Python environment of its own under target/. Needs no more than a Debian-like system and
# the right to install.
set -eu
cd "$(dirname "$0")/.."
. tests/packages.sh

have_postgres() {
    command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

have_python() {
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1
}

# One with HTTP/2.
have_curl() {
    curl --version 2>/dev/null | grep -q HTTP2
}

# 18 is what the oldest of the distributions that are still kept brings, and what the locked packages run on.
have_node() {
    command -v npm >/dev/null 2>&1 && node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)' 2>/dev/null
}

have_postgres || install postgresql
have_postgres
have_python || install python3 python3-venv
have_python
have_curl || install curl
have_curl
command -v valgrind >/dev/null 2>&1 || install valgrind
command -v valgrind >/dev/null 2>&1
have_node || install nodejs npm
have_node || { echo "the tests need Node from 18 on, with npm" >&2; exit 1; }

# Both are installed afresh whenever the pinned versions change.
wanted=tests/clients/package-lock.json
there=tests/clients/node_modules
if ! cmp -s "$wanted" "$there/installed.json"; then
    (cd tests/clients && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    cp "$wanted" "$there/installed.json"
fi

wanted=tests/schemathesis/requirements.txt
there=target/schemathesis
if ! cmp -s "$wanted" "$there/requirements.txt"; then
    rm -rf "$there"
    python3 -m venv "$there"
    "$there/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$wanted"
    cp "$wanted" "$there/requirements.txt"
fi
