# `make demo` and `make test` set up everything they need in .venv; nothing outside this folder is changed, but for
# Debian packages that are missing when make runs as root.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONFIG ?= wecom.json

.PHONY: demo test gateway simulator lint format coverage clean

demo: $(READY)  ## Play a conversation between a simulated WeCom and a real gateway.
	@$(BIN)/maven-wecom demo

test: $(READY)  ## Run every test and every check.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest

gateway: $(READY)  ## Run the gateway: make gateway CONFIG=wecom.json
	@$(BIN)/maven-wecom gateway --config $(CONFIG)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

coverage: $(READY)  ## Run the tests with branch coverage.
	@$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered

clean:
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(READY): pyproject.toml .ci/environment
	@.ci/environment $(VENV)
	@touch $@
