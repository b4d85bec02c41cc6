SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
bin := .venv/bin
kept := HOME,PATH,CI,DRYDOCK_CACHE,DRYDOCK_STATE
# The end-to-end tests boot machines; a user with sudo need not think of it.
root := $(if $(filter-out 0,$(shell id -u)),sudo --preserve-env=$(kept))

.PHONY: help setup rehearse bench-ssh test test-fast coverage lint clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: ## Install and build everything that the rehearsal needs (seconds when nothing is to do)
	@scripts/setup

rehearse: ## The whole voyage on this machine: up, answer, load, change, down, audit (KEEP=1 leaves it up)
	@begin=$$(date +%s.%N); scripts/setup; \
	set_up_s=$$(date +%s.%N | awk -v begin=$$begin '{ print $$1 - begin }'); \
	$(bin)/drydock rehearse --set-up-s "$$set_up_s" $(if $(KEEP),--keep)

test: ## Set-up, lint, then every test: the fast ones first, then those that boot real nodes
	@scripts/setup --tests
	@$(MAKE) --no-print-directory lint
	$(root) $(bin)/pytest --durations=15

test-fast: ## The tests that need neither root nor network
	$(bin)/pytest -q -m "not e2e"

coverage: ## The lines of ansible_like that its tests run, on hosts too; fails below 95 %
	@scripts/setup --tests
	$(root) $(bin)/python -m tests.measured

lint: ## ruff, mypy --strict, the import contract
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

bench-ssh: ## The SSH engine against its peers: what the bars need, the table and the plot (hours; goes on)
	@scripts/setup
	$(root) $(bin)/python -m scripts.bench_ssh measure
	$(bin)/python -m scripts.bench_ssh plot
	$(bin)/python -m scripts.bench_ssh table

clean: ## Remove what was built in this checkout (the cache in ~/.cache/drydock stays)
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
