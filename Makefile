# Everything is set up from nothing but python3, make and apt; a target can be repeated and is quick when nothing changed.

# .tools holds programs, and .tools/lib a library, that the tests need and a small machine may lack.
pytest = PATH=$(CURDIR)/.tools:$$PATH LD_LIBRARY_PATH=$(CURDIR)/.tools/lib$${LD_LIBRARY_PATH:+:$$LD_LIBRARY_PATH} .venv/bin/pytest
WORKERS ?= 2

.PHONY: help install install-dev test-tools run lint check test soak bench mutants sbom lock clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

install: ## set up .venv with what the service needs
	@scripts/setup-venv runtime

install-dev: ## set up .venv with the tools and libraries of the tests, too
	@scripts/setup-venv dev

test-tools: install-dev ## fetch what the tests start or load besides Python packages, into .tools
	@scripts/setup-redis
	@scripts/setup-curl
	@scripts/setup-nginx
	@scripts/setup-libgomp
	@scripts/setup-openai-versions
	@scripts/setup-node
	@scripts/setup-chromium
	@scripts/setup-promtool

run: install ## serve the demo on 127.0.0.1:8080
	SLUICE_DEMO=1 .venv/bin/sluice serve

lint: install-dev ## formatting, lint, types, import contracts
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
	.venv/bin/hadolint Dockerfile

check: lint test-tools ## lint and the fast tests
	$(pytest) -q -n $(WORKERS) -m "not slow and not e2e"

test: test-tools ## every test, in WORKERS processes, two by default; ARGS="-k name" chooses
	$(pytest) -n $(WORKERS) --no-loadscope-reorder $(ARGS)

soak: test-tools ## the ledger's soak for SOAK_SECONDS, ten minutes by default
	SOAK_SECONDS=$${SOAK_SECONDS:-600} $(pytest) -s tests/e2e/test_ledger_soak.py

bench: test-tools ## the gateway beside nginx and no gateway at all; ARGS="--targets direct,gateway,litellm --install" for peers
	PATH=$(CURDIR)/.tools:$$PATH .venv/bin/python -m benchmarks $(ARGS)

mutants: test-tools ## change the modules that keep strangers out, place by place, and see that a test fails; ARGS="tokens" chooses
	.venv/bin/python scripts/mutants $(ARGS)

sbom: install ## the bill of materials, CycloneDX JSON, from the lock file
	@.venv/bin/python scripts/sbom

lock: install-dev ## renew the lock files from pyproject.toml and package.json; ARGS=--upgrade takes the newest versions
	@scripts/lock $(ARGS)

clean: ## remove whatever was made by these targets
	rm -rf .venv .cache .tools *.egg-info .coverage htmlcov .hypothesis
	rm -rf .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
