# make demo    train the demo spec on real digits; picture, ONNX file and certificate in out/demo
# make test    the tests (make test-slow: training claims and fuzzing; make test-changed: claims that a change concerns;
#              make test-web: pages, in Chromium)
#
# Each needs nothing but Python 3.11: the first call makes the environment. PY=python uses yours as it stands.

BASE ?= python3
VENV ?= .venv
DEMO := specs/diffusion/ddpm.spec
OUT := out/demo

ifdef PY
TRAIN_ENV :=
DEV_ENV :=
else
PY := $(VENV)/bin/python
TRAIN_ENV := $(VENV)/.train
DEV_ENV := $(VENV)/.dev
endif
SPECC := $(PY) -m specc.cli.main
PYTEST := $(PY) -m pytest
TESTS ?= tests

.PHONY: demo test test-slow test-changed test-web lint format docs clean

demo: $(TRAIN_ENV)
	$(SPECC) train $(DEMO) -o $(OUT)
	$(SPECC) sample $(OUT) --sampler fast -n 100 --seed 0 -o $(OUT)/samples.png
	$(SPECC) export $(OUT) --sampler fast -o $(OUT)/fast.onnx

# The exit status of pytest itself goes to $(STATUS) if that is given, since make turns every failure into 2.
test: $(DEV_ENV)
	@$(PYTEST) -n 2 $(TESTS); status=$$?; $(if $(STATUS),echo $$status > $(STATUS);) exit $$status

test-slow: $(DEV_ENV)
	@$(PYTEST) -m 'slow and not web' $(TESTS)

# Needs npm, for onnxruntime-web, and a Chromium, which is installed where that is allowed.
test-web: $(DEV_ENV)
	command -v chromium chromium-browser google-chrome > /dev/null || apt-get install -y --no-install-recommends chromium
	$(PYTEST) -m 'web and not slow' tests/web

# Slow claims of the systems whose spec or test is not the one of docs/measured.json, the shortest first, two minutes of them.
test-changed: $(DEV_ENV)
	@$(PYTEST) -n 2 -m slow --changed 120 tests/systems || [ $$? = 5 ]

test-mlir: $(DEV_ENV)
	$(PY) -m pip install --quiet -c constraints.txt -e '.[mlir,iree]'
	@$(PYTEST) -m 'slow or not slow' tests/mlir

lint: $(DEV_ENV)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy -p specc.ir -p specc.sema -p specc.syntax

format: $(DEV_ENV)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(DEV_ENV)
	$(SPECC) explain --all > docs/diagnostics.md
	$(PY) tests/systems/table.py > docs/systems.md

clean:
	rm -rf out build .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(VENV)/bin/python:
	$(BASE) -m venv $(VENV)

$(VENV)/.train: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[train,export]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[train,export,dev]'
	touch $@
