# Each target does all of its own set-up in .venv and is safe to repeat.
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || echo 2)
BIN := .venv/bin
READY := .venv/.ready
# Images of containers often set this; every process would then compile all modules again, torch's for seven seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: book test setup lint html bench manifest readme pretrained clean
.DEFAULT_GOAL := book

book: $(READY)  ## the demo study: all notebooks, into runs/demo
	$(BIN)/hepred run studies/demo.yaml --cores $(CORES)

test: $(READY)  ## the whole test suite, the smoke study's notebooks included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(CORES) --dist loadscope --no-loadscope-reorder

setup: $(READY)  ## the virtual environment, from pyproject.toml under constraints.txt
	$(if $(PYTHONDONTWRITEBYTECODE),$(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null || true)

# Modules are compiled when they are first imported: half of an install went into those that never are.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[dev,site]'
	touch $(READY)

lint: $(READY)  ## style, types, layers of imports, and that scripts and notebooks are in step
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy | $(BIN)/mypy-baseline filter
	$(BIN)/python -m pytest tests/test_notebooks.py

html: book  ## the executed book as a static site, runs/demo/site/index.html
	$(BIN)/hepred site runs/demo

bench: $(READY)  ## our statistics beside a peer's; the longer ones: benchmarks/README.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed.py

manifest: $(READY)  ## data_manifest.csv again, after a change of the simulation
	$(BIN)/hepred simulate cohorts/demo --patients 240 --seed 7
	sed 's#,scans/#,cohorts/demo/scans/#g' cohorts/demo/manifest.csv > data_manifest.csv

readme: $(READY)  ## the README's results table and docs/demo_results.json, from runs/demo
	$(BIN)/python benchmarks/readme_results.py

pretrained: $(READY)  ## the weights that come with the library once more: half an hour
	$(BIN)/python benchmarks/pretrained.py --out cohorts/pretrained --cores $(CORES)

clean:  ## what studies wrote and simulated; not the environment
	rm -rf runs cohorts
