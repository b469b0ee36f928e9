# Installs packages; for scripts to read in with `.`, which start for themselves what they need: no package's own service is started.

# install PACKAGE...: fails where there is no apt-get. Without one of the packages it says so, and goes on: scripts look for what they cannot do without.
install() {
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "please install: $*" >&2
        exit 1
    fi
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    # Where there is no such file, services are started.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod +x "$policy"
        trap '$as_root rm -f "$policy"' EXIT
    fi
    $as_root apt-get update -q
    for package in "$@"; do
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$package" || echo "without $package" >&2
    done
}
