# `make` lists what there is. The first target that needs it sets up .venv from the locks; later ones reuse it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CRD := operator/crds/finetunejobs.finetune.dev.yaml
RBAC := operator/rbac.yaml

export TF_CPP_MIN_LOG_LEVEL ?= 3

##@ Use

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## Fine-tune EfficientNetLite0 on real handwritten digits with two worker processes
	PYTHON="$(abspath $(BIN))/python" examples/digits/demo.sh

.PHONY: demo-cluster
demo-cluster: $(READY) ## A one-node cluster to try things on, chart installed (root); kind where Docker and kind are
	@if $(KIND); then tools/demo-cluster/kind.sh up; else $(BIN)/python tools/demo-cluster/main.py up; fi

.PHONY: demo-cluster-down
demo-cluster-down: ## Take it away
	@if $(KIND); then tools/demo-cluster/kind.sh down; else $(BIN)/python tools/demo-cluster/main.py down; fi

KIND = command -v kind >/dev/null && docker info >/dev/null 2>&1

##@ Ship

.PHONY: images
images: ## Build the operator's and the CPU trainer's image with docker or buildah
	tools/images/build.sh operator
	tools/images/build.sh trainer

.PHONY: sbom
sbom: images ## Write the images' bills of materials (SPDX) into .cache/images/sbom
	tools/images/sbom.sh

.PHONY: manifests
manifests: $(READY) ## The chart as one file for `kubectl apply -f`: dist/finetune-operator.yaml
	@mkdir -p dist
	tools/chart/manifests.sh $(MANIFESTS_ARGS) > dist/finetune-operator.yaml

##@ Develop

.PHONY: test
test: check verify-generated tools ## Everything that has to hold before a change lands
	# A control plane wants the processors for itself: its tests know how soon things have to happen.
	+$(MAKE) --jobs=1 test-operator test-faults
	@echo "Two suites at once, as each waits half of its time; each is shown when it is over: in about 14 minutes."
	+$(MAKE) --jobs=2 --output-sync=target test-training test-parts

PYTEST = $(BIN)/pytest --durations=15

.PHONY: test-operator
test-operator: $(READY) ## Of these: the operator on a real control plane
	$(PYTEST) tests/integration

.PHONY: test-faults
test-faults: $(READY) ## Of these: the operator, its objects or the API broken; the chart
	$(PYTEST) tests/faults tests/chart

.PHONY: test-training
test-training: $(READY) ## Of these: whole trainings by real workers
	$(PYTEST) tests/training

.PHONY: test-parts
test-parts: $(READY) ## Of these: all others
	$(PYTEST) $(patsubst %,--ignore=tests/%,integration faults chart training e2e)

.PHONY: e2e
e2e: $(READY) ## The whole way on two real nodes (root, Debian): images, chart, training, losses
	$(PYTEST) --capture=no tests/e2e

.PHONY: check
check: $(READY) ## Lint, format, types, import contracts and the rules of the repository; starts no TensorFlow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy operator trainer_image tests/support benchmarks tools/generated.py tools/chart tools/dashboards tools/docs
	$(BIN)/lint-imports
	$(BIN)/pytest --quiet tests/repo

.PHONY: generate
generate: $(READY) ## Write the files that are made from code
	$(BIN)/finetune crd > $(CRD)
	$(BIN)/python -m finetune_operator.rbac > $(RBAC)
	$(BIN)/python -m tools.dashboards
	$(BIN)/python -m tools.chart
	$(BIN)/python -m tools.docs
	$(BIN)/python -m finetune_trainer.generate_backbones

.PHONY: verify-generated
verify-generated: $(READY) ## Fail if CRD, roles, chart or references are not what the code makes
	@$(BIN)/finetune crd | diff -u $(CRD) - \
	  || { echo "$(CRD) is not what the code makes: run 'make generate'" >&2; exit 1; }
	@$(BIN)/python -m finetune_operator.rbac | diff -u $(RBAC) - \
	  || { echo "$(RBAC) is not what the code makes: run 'make generate'" >&2; exit 1; }
	@$(BIN)/python -m tools.dashboards --check
	@$(BIN)/python -m tools.chart --check
	@$(BIN)/python -m tools.docs --check

.PHONY: tools
tools: ## Build the programs that tests run, into .cache/bin: minutes once, then nothing
	@for name in versitygw etcd kwok kubernetes helm kubeconform; do tools/build.sh $$name; done
	@tools/prometheus.sh

.PHONY: lock
lock: $(READY) ## Resolve dependencies again and write requirements/*.txt with their hashes
	rm -f requirements/*.txt
	$(LOCK) --extra operator --extra trainer-cpu --extra cli --extra demo --extra dev --extra bench \
	  --unsafe-package tensorflow --output-file requirements/dev.txt pyproject.toml
	$(LOCK) $(LIKE_DEV) --build-deps-for wheel --only-build-deps --output-file requirements/build.txt pyproject.toml
	$(LOCK) $(LIKE_DEV) --extra operator --output-file requirements/operator.txt pyproject.toml
	$(LOCK) $(LIKE_DEV) --extra trainer-cpu --output-file requirements/trainer-cpu.txt pyproject.toml
	$(LOCK) $(LIKE_DEV) --extra trainer --output-file requirements/trainer-gpu.txt pyproject.toml

LOCK = env -u PIP_FIND_LINKS CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile
# One version of each package everywhere: what is shipped is what was tested.
LIKE_DEV = --constraint requirements/dev.txt --allow-unsafe

.PHONY: clean
clean: ## Remove everything that was built, downloaded or made here
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist demo-output

##@ Measure

.PHONY: bench
bench: bench-trainer bench-operator ## All benchmarks

.PHONY: bench-trainer
bench-trainer: $(READY) ## Ours against TensorFlow's multi-worker tutorial, alternating, into benchmarks/results/
	$(BIN)/python -m benchmarks.trainer $(BENCH_ARGS)

.PHONY: bench-operator
bench-operator: $(READY) tools ## The operator against the bare objects, alternating, into benchmarks/results/
	PYTHONPATH=tests/support $(BIN)/python -m benchmarks.operator $(BENCH_ARGS)

# The lock is complete, so nothing is resolved here (tf_keras, for one, would ask for a second TensorFlow).
$(READY): requirements/dev.txt pyproject.toml
	@echo "Installing the locked packages, TensorFlow among them, into $(VENV): one to three minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
