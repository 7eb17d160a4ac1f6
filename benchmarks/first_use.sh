#!/usr/bin/env bash
# Follow the README's first blocks in a fresh environment, on 50 clips of five classes, and time them.
#
#     CIGN_REAL=FOLDER bash benchmarks/first_use.sh [WORK]
#
# The clips are those of docs/own-clips.md (examples/clips.py): real recordings and the default
# encoders where CIGN_REAL names a folder of built sets, otherwise generated clips and the encoders
# `small`. An environment in WORK is used again, and the time of its install is not measured.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work" && cd "$work"
rm -rf zoo more unseen STORE RUN MODEL

timed() { # NAME COMMAND...: run a command and remember its seconds
	local name=$1 began
	began=$(date +%s.%N)
	"${@:2}"
	seconds+="$name $(echo "$(date +%s.%N) $began" | awk '{printf "%.1f", $1 - $2}') s, "
}

install() {
	(
		cd "$root"
		pip install -q "$(grep '^torch==' constraints.txt)"
		pip install -q -c constraints.txt '.[real]'
		pip install -q --no-deps "$(grep '^aisfx==' constraints.txt)"
	)
}

seconds=""
if [ -d env ]; then
	. env/bin/activate
else
	python3 -m venv env
	. env/bin/activate
	timed install install
fi
python "$root/examples/clips.py" own
backbone=()
[ -n "${CIGN_REAL:-}" ] || backbone=(--backbone small)
timed prepare cign prepare zoo STORE "${backbone[@]}"
timed train cign train STORE --out RUN
timed predict cign predict RUN unseen/*.mp4
timed add cign add RUN more --out MODEL
echo "${seconds%, }; $(ls zoo/*/* | wc -l) clips, $(ls unseen | wc -l) predicted"
