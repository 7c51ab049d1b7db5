# Two commands do everything: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-airflow test-kubernetes test-compose k8s-real check lock format clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Make .venv with the locked requirements (every other target does it when needed)

$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.11 ..."; exit 2; }
	@echo "Installing the locked requirements into $(VENV): a few minutes, once."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## Train a tiny model, evaluate its checkpoints through a real Airflow, show the leaderboard
	@$(BIN)/python -m llm_eval.demo
	@$(BIN)/python -m llm_eval.airflow.demo

up: $(READY)  ## Start Airflow with its UI on this machine; Ctrl-C stops it
	@$(BIN)/python -m llm_eval.airflow.up

test: $(READY)  ## Run the test suite, but for the slow tests with a real scheduler or with pods
	@$(BIN)/python -m pytest -m "not airflow and not kubernetes and not containers" --numprocesses auto --dist worksteal

test-kubernetes: $(READY)  ## Run the tests with real pods in an emulated cluster, and nothing else
	@$(BIN)/python -m pytest tests/kubernetes -m "kubernetes and not airflow" --ignore tests/kubernetes/real --numprocesses auto --dist worksteal

test-airflow: $(READY)  ## Run the tests with a real Airflow scheduler, and nothing else
	@$(BIN)/python -m pytest -m airflow --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-compose: $(READY)  ## Build the images, start docker compose and use it (needs root, docker or Debian's docker.io)
	@$(BIN)/python -m pytest -m containers tests/compose

k8s-real: $(READY)  ## Run the tests with pods on a real Kubernetes: yours (KUBECONFIG), or one built here from Debian
	@if [ -z "$$KUBECONFIG" ]; then bash tests/kubernetes/real/build.sh; fi
	@$(BIN)/python -m pytest tests/kubernetes/real

check: $(READY)  ## Lint, types, dependency rules, catalog
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/llm-eval check

format: $(READY)  ## Format and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# torch's CUDA libraries are left to torch's own metadata: a CPU build brings none, a CUDA build its own.
LOCK := $(BIN)/uv pip compile --quiet --no-header --python-version 3.11 --no-emit-package triton \
  $(foreach p,bindings pathfinder toolkit,--no-emit-package cuda-$(p)) \
  $(foreach p,cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse \
    cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx,--no-emit-package nvidia-$(p))

lock: $(READY)  ## Resolve requirements*.in into requirements*.txt, newest versions that fit
	@$(LOCK) --upgrade requirements.in --output-file requirements.txt
	@$(LOCK) --upgrade requirements-dev.in --output-file requirements-dev.txt

clean:  ## Remove .venv and everything that runs have written under var/
	rm -rf $(VENV) var
