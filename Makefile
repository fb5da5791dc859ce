# Every target works on a fresh clone: .venv is made first and brought up to date when the requirements change.
PYTHON ?= python3
# One case of the benchmark, and further options of benchmarks/speed/run.py, such as BENCH='--threads 1'.
CASE ?=
BENCH ?=
# The processor threads of each of the two test workers, and the workers themselves.
WORKERS ?= 2
# How long each target is fuzzed.
FUZZ_SECONDS ?= 300

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.installed-bench
FUZZ_INSTALLED := $(VENV)/.installed-fuzz
NEWEST := .venv-newest
CHECKED := hf_lstm hf_lstm_cli.py scripts benchmarks tests .ci

.DEFAULT_GOAL := help
.PHONY: help install demo bench test test-slow test-newest check audit fuzz format lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## Make .venv with everything needed to train, demonstrate and develop

# torch goes first and alone: a build chosen for the machine at hand then stays as it is.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install torch==2.13.0
	$(BIN)/python -m pip install -c constraints.txt -e '.[train,demo,dev]'
	touch $(INSTALLED)

demo: $(INSTALLED) ## Train, evaluate, save, reload and report on built-in data, without a download
	$(BIN)/python scripts/demo.py

$(BENCH_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install -c constraints.txt -e '.[train,demo,dev,bench]'
	touch $(BENCH_INSTALLED)

bench: $(BENCH_INSTALLED) ## Measure the speed beside the peers, or one case of it: make bench CASE=encoder
	$(BIN)/python benchmarks/speed/run.py --output runs/speed$(if $(CASE),_$(CASE)) $(if $(CASE),--case $(CASE)) $(BENCH)

test: $(INSTALLED) ## Run the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

test-slow: $(INSTALLED) ## Run the tests that take longer than ten seconds
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m slow

test-newest: ## Run the fast tests with the newest releases that pyproject.toml allows
	test -x $(NEWEST)/bin/python || $(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --upgrade --upgrade-strategy eager -e '.[train,demo,dev]'
	OMP_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest -n $(WORKERS)

check: $(INSTALLED) ## Lint, formatting and types
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy

audit: $(INSTALLED) ## Look the installed releases up in the database of known vulnerabilities
	$(BIN)/python .ci/audit.py

fuzz: $(FUZZ_INSTALLED) ## Fuzz the readers of files and the loading of models, FUZZ_SECONDS each
	for target in readers checkpoints; do \
		OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.run $$target --seconds $(FUZZ_SECONDS) || exit 1; \
	done

$(FUZZ_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install -c constraints.txt -e '.[train,demo,dev,fuzz]'
	touch $(FUZZ_INSTALLED)

format: $(INSTALLED) ## Mend what ruff can mend
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

lock: $(BENCH_INSTALLED) $(FUZZ_INSTALLED) ## Write the installed versions into constraints.txt
	$(BIN)/python .ci/lock.py > constraints.new
	mv constraints.new constraints.txt
	touch $(INSTALLED)

clean: ## Remove .venv and every cache
	rm -rf $(VENV) $(NEWEST) .mypy_cache .pytest_cache .ruff_cache *.egg-info
