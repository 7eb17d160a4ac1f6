#!/bin/sh
# Bring a Chromium for `make test-browser`: the system's, apt's, or the one playwright downloads.
has_browser() {
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        "$name" --version >/dev/null 2>&1 && return 0
    done
    return 1
}
has_browser && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >/dev/null 2>&1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium fonts-dejavu-core >/dev/null 2>&1
    has_browser && exit 0
fi
playwright install chromium >/dev/null 2>&1 && exit 0
echo "make test-browser: there is no Chromium and none could be brought: install one (as root: apt-get install chromium)" >&2
exit 1
