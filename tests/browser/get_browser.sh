#!/bin/sh
# Bring a Chromium for `make test-browser`: the system's, apt's, or the one playwright downloads.
#
# Where none can be had this fails with one sentence and does not skip: a check that leaves itself
# out looks in a log like one that passed. `make check test demo` needs no browser.
has_browser() {
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        "$name" --version >/dev/null 2>&1 && return 0
    done
    return 1
}
has_browser && exit 0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # An update may fail for a source that has nothing to do with this; the install then tells.
    apt-get update -qq >/dev/null 2>&1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 \
        chromium fonts-dejavu-core >/dev/null 2>"$log" </dev/null
    has_browser && exit 0
fi
command -v playwright >/dev/null && playwright install chromium >/dev/null 2>>"$log" && exit 0
why=$(grep -v '^ *$' "$log" | head -n 1)
echo "make test-browser: there is no Chromium and none could be brought${why:+ ($why)}: install one (as root: apt-get install chromium)" >&2
exit 1
