# One command per intent; `make` alone lists them. CI runs the same targets.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Everything that is fetched or built once lives here, outside the checkout.
export WAYBILL_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/waybill
export CARGO_TARGET_DIR ?= $(WAYBILL_CACHE)/target
export WAYBILL_CHDB_LIB ?= $(WAYBILL_CACHE)/chdb-26.7.3/libchdb.so
BIN := $(CARGO_TARGET_DIR)/debug/waybill

.PHONY: fuzz help setup build demo check test test-pipeline test-kill helm-lint bench deny fmt clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Fetch what is missing (prints what first; WAYBILL_NO_INSTALL=1 forbids it)
	@scripts/setup.sh

build: ## Build the waybill program
	cargo build --locked -p waybill

demo: setup build ## Track 2,000 simulated parcels politely; ARGS="--for 120s" ends it
	$(BIN) standalone --demo $(ARGS)

# Not optimised and without debug information: what is checked here is short, compiling it is not.
check: export CARGO_PROFILE_DEV_OPT_LEVEL = 0
check: export CARGO_PROFILE_DEV_DEBUG = none
check: ## Format, lints with warnings denied, unit and golden tests
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --workspace --lib --test golden --test files --test schemas --test docs --quiet

test: setup ## The whole proof: everything in check, then the real parts end to end
	@$(MAKE) --no-print-directory check
	cargo test --locked --workspace --tests --quiet -- --show-output
	@$(MAKE) --no-print-directory helm-lint

test-pipeline: setup ## Only the whole-pipeline tests
	cargo test --locked -p waybill --test '*' -- --nocapture

helm-lint: ## Lint the chart
	@scripts/helm-lint.sh

bench: setup ## Print figures as `name value unit` lines and JSON; ARGS="--json FILE" or a part of a name
	cargo bench --locked -p waybill --bench figures -- $(ARGS)

fuzz: ## Fuzz the readers (needs nightly Rust and cargo-fuzz); ARGS="html 600" is one target, ten minutes
	@scripts/fuzz.sh $(ARGS)

deny: ## Check licences, advisories and duplicate dependencies (needs cargo-deny)
	cargo deny check

fmt: ## Format the code
	cargo fmt --all

clean: ## Remove what the demo keeps; the cache stays
	rm -rf waybill-data waybill-data-demo
