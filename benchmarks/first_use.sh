#!/usr/bin/env bash
# Follow the README's first block in a fresh environment, from a built wheel, and time it.
#
#     bash benchmarks/first_use.sh [FOLDER]
#
# The clips are rendered by the checkout's own `cign` and copied, so that `prepare` sees plain class
# folders.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work" && cd "$work"
"$root/.venv/bin/pip" wheel -q --no-deps "$root" -w dist
"$root/.venv/bin/cign" synth rendered --classes 3 --train 10 --val 2 --test 3 --seconds 2
mkdir -p CLIPS NEW_CLIPS
cp -r rendered/train/* CLIPS/
mv "CLIPS/$(ls CLIPS | head -1)" NEW_CLIPS/
cp "$(find CLIPS -name '*.mp4' | sort | head -1)" clip.mp4
python3 -m venv env
. env/bin/activate

began=$(date +%s)
pip install -q "$(grep '^torch==' "$root/constraints.txt")"
pip install -q dist/cign-*.whl
installed=$(date +%s)
cign prepare CLIPS STORE --backbone small
cign train STORE --out RUN
cign predict RUN clip.mp4
predicted=$(date +%s)
cign add RUN NEW_CLIPS --out MODEL
echo "install $((installed - began)) s, prepare, train and predict $((predicted - installed)) s"
