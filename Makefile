# `make` lists the targets. Everything runs from .venv, which `make install` keeps in step with pyproject.toml and
# constraints.txt; another interpreter is chosen with `make install PYTHON=python3.12`.

PYTHON ?= python3
UV     ?= uv
BIN    := .venv/bin
STAMP  := .venv/.installed
PYTEST := $(BIN)/python -m pytest

# Folders that exist now: tools that refuse a missing path are given only these.
CODE   := $(wildcard tenon services tests tools examples)
SUITES := $(wildcard tests/contract tests/conformance tests/integration tests/e2e)
CORES  := $(shell getconf _NPROCESSORS_ONLN)

# Each test process and each service that a test starts would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: install
install: $(STAMP) ## make .venv with everything, at the versions of constraints.txt

# Installing also compiles the C kernels, so that they follow their sources.
KERNEL := hatch_build.py $(wildcard tenon/*/kernel/*.[ch]) tenon/native/build.py tenon/native/abi.h

$(STAMP): pyproject.toml constraints.txt $(KERNEL)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@

# TARGET=compose tells it on the platform of docker-compose.yml, which must not know the hospitals yet.
.PHONY: demo
demo: install $(TARGET:%=up-%) ## run the hospital example from data to rollback (KEEP=1 leaves it running; TARGET=compose)
	$(if $(TARGET),$(DEMO_ON_$(TARGET)),$(BIN)/python -m examples.hospital.demo $(if $(KEEP),--keep))

.PHONY: flights
flights: install ## run the flights example (needs the data set, see TENON_TEST_DATA)
	$(BIN)/python -m examples.flights.report

# A file's tests stay on one process, so that what its fixtures build is built once; tests/conftest.py puts the longest files
# first, and xdist must not put them elsewhere. Real services mostly wait, so there is one process more than cores.
SPREAD := --dist loadfile --no-loadscope-reorder

.PHONY: test
test: test-unit ## all tests: unit, contract, conformance, integration, e2e
	$(if $(SUITES),$(PYTEST) -n $(shell expr $(CORES) + 1) --durations=15 $(SPREAD) $(SUITES),@echo "no contract, conformance, integration or e2e tests yet")

# Libraries' own threads would only take the cores from each other.
.PHONY: test-unit
test-unit: install ## only the unit tests, on one process a core
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PYTEST) -n $(CORES) $(SPREAD) tests/unit

.PHONY: test-properties
test-properties: install ## the unit tests' properties on twenty times as many examples, others in each run
	TENON_EXAMPLES=20 $(PYTEST) -n $(CORES) --timeout=1800 -m hypothesis tests/unit

# Spark is 690 MB beside .venv, which is why `make test` knows nothing of it; numpy and the rest are .venv's. Java has to be there.
SPARK := .cache/spark-$(shell sed -n 's/^pyspark==\([^ ;]*\).*/\1/p' constraints.txt)

$(SPARK): | $(STAMP)
	rm -rf .cache/spark-*
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile -c constraints.txt --target $@.new pyspark py4j pandas pyarrow
	mv $@.new $@

.PHONY: test-spark
test-spark: install $(SPARK) ## training sets on Spark, bit by bit as on one machine (fetches Spark, 510 MB; needs Java)
	PYTHONPATH=$(SPARK) $(PYTEST) tests/spark

# Other people's clients are installed into .cache/clients on the first run; where they cannot be had the tests skip, with
# CI=true they fail.
.PHONY: test-conformance conformance-table
test-conformance: install ## other people's clients against the predictor, and the table of what they can do
	$(PYTEST) tests/conformance

conformance-table: install ## write that table into docs/reference/conformance.md
	TENON_WRITE_CONFORMANCE=1 $(PYTEST) -q tests/conformance/test_conformance_clients.py

# Built once into ~/.cache/tenon-tools (TENON_TOOLS_CACHE): helm and kubectl first, then a whole control plane.
.PHONY: cluster-tools test-cluster
cluster-tools: install ## build helm, kubectl and a Kubernetes control plane, where they are not on the PATH (TOOLS=helm for one)
	$(BIN)/python -m tests.cluster.tools $(TOOLS)

test-cluster: cluster-tools ## the charts on a real Kubernetes control plane, canaries by a real Flagger
	$(PYTEST) tests/cluster

# With an ordinary Docker, or DOCKER=../shared/tools/docker-sandbox: an engine in a network of its own, which has to be started, and
# beside which commands are run to reach what it publishes.
DOCKER   ?= docker
VERSION  := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
CREATED  := $(shell git log -1 --format=%cI 2>/dev/null || echo 1970-01-01T00:00:00Z)
# In front of the images' names, such as registry.example.org/ with its slash.
IMAGE_REGISTRY ?=
PYTHON_IMAGE   ?= python:3.11-slim-bookworm
IMAGES := ingest features trainer registry predictor monitor
SANDBOX := $(findstring docker-sandbox,$(DOCKER))
BESIDE  := $(if $(SANDBOX),$(DOCKER) run)
BUILD   := DOCKER_BUILDKIT=1 $(DOCKER) build -f deploy/docker/Dockerfile --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) $(BUILD_OPTIONS)

.PHONY: images $(IMAGES:%=image-%) engine images-test wheelhouse
images: $(IMAGES:%=image-%) ## build the six container images (BUILD_OPTIONS=--network=none with a wheelhouse)

$(IMAGES:%=image-%): image-%:
	$(BUILD) --quiet --build-arg SERVICE=$* --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
	  --build-arg CREATED=$(CREATED) -t $(IMAGE_REGISTRY)tenon/$*:$(VERSION) .

engine:
	$(if $(SANDBOX),tests/compose/start_engine $(DOCKER))

images-test: install engine ## start each image and try what it promises
	$(BESIDE) $(PYTEST) tests/compose/test_images.py

# What is secret there, made once; never committed.
SECRETS ?= deploy/docker/secrets
COMPOSE ?= $(if $(SANDBOX),$(DOCKER) compose,docker compose)
DEMO_ON_compose = $(BESIDE) $(BIN)/python -m examples.hospital.demo --target $(SECRETS)/operator.env \
  --kill "docker compose --profile core kill" --start "docker compose --profile core up --wait"

.PHONY: compose-secrets up-compose test-compose stand-ins
compose-secrets: ## make the passwords and keys of docker-compose.yml, once
	@$(PYTHON) deploy/docker/make_secrets.py $(SECRETS)

up-compose: compose-secrets engine
	$(COMPOSE) --profile core up --wait --quiet-pull

test-compose: install engine ## docker-compose.yml with PostgreSQL and S3: the demo, restarts under load, alerts
	TENON_TEST_PLATFORM=compose $(BESIDE) $(PYTEST) --durations=10 tests/compose tests/e2e/test_own_data.py tests/e2e/test_no_leak.py

# Where no container registry can be reached.
stand-ins: ## make images under the public names with base-images (DOCKER=../shared/tools/docker-sandbox)
	DOCKER=$(DOCKER) $(PYTHON) -m tests.compose.stand_ins

# Every wheel that images and their build need, so that they can be built where there is no network.
wheelhouse: ## download the packages of all images into wheelhouse/, for a build without a network
	rm -rf wheelhouse
	$(BUILD) --quiet --target wheelhouse --output type=local,dest=wheelhouse .
	cd wheelhouse && sha256sum *.whl >SHA256SUMS && du -sh .

.PHONY: test-install
test-install: ## install each extra without constraints.txt and try it (slow; EXTRA=predictor for one)
	$(PYTHON) -m tools.try_install $(EXTRA)

# Separate targets, so that `make -k lint` shows everything that is wrong at once.
.PHONY: lint lint-style lint-types lint-imports lint-length
lint: lint-style lint-types lint-imports lint-length ## style, types, architecture and file length (-k: do not stop at the first)

lint-style: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-types: install
	$(BIN)/mypy $(CODE)

lint-imports: install
	$(BIN)/lint-imports --no-logo

lint-length: install
	$(BIN)/python -m tools.file_length

.PHONY: lint-contracts
lint-contracts: install ## show that each import contract still catches what it should
	$(BIN)/python -m tools.try_contracts

.PHONY: format
format: install ## format the code and mend what can be mended safely
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: proto
proto: install ## remake tenon/api from proto/
	$(BIN)/python -m tools.proto

.PHONY: proto-check
proto-check: install ## fail if tenon/api is not what proto/ says
	$(BIN)/python -m tools.proto --check

.PHONY: test-kernel
test-kernel: install ## the C kernels' tests under sanitizers, and built without Python's headers
	$(BIN)/python -m tools.test_kernel

bench-%: install ## run one bench of tests/bench against its yardstick
	$(BIN)/python -m tests.bench.$(subst -,_,$*)

# One answer for every supported Python, without addresses: trainer and predictor must never drift apart, so
# fork-strategy keeps a single version of each package wherever one works for all.
.PHONY: constraints
constraints: ## compute constraints.txt anew (needs uv; UPGRADE=1 moves to the newest versions)
	$(UV) pip compile --quiet --universal --fork-strategy fewest --no-emit-index-url --python-version 3.11 \
	  --custom-compile-command 'make constraints' --all-extras $(if $(UPGRADE),--upgrade) \
	  pyproject.toml -o constraints.txt

.PHONY: clean
clean: ## remove caches, builds and bench results (not .venv, not .tenon)
	rm -rf build dist bench-results .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
