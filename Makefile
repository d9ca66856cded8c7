# One command per intent; `make` alone lists them. CI runs the same targets.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Everything that is fetched or built once lives here, outside the checkout.
export WAYBILL_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/waybill
export CARGO_TARGET_DIR ?= $(WAYBILL_CACHE)/target
export WAYBILL_CHDB_LIB ?= $(WAYBILL_CACHE)/chdb-26.7.3/libchdb.so
BIN := $(CARGO_TARGET_DIR)/debug/waybill

# What forbids fetching forbids rustup's and cargo's as well: cargo then says which toolchain or crate is missing.
ifeq ($(WAYBILL_NO_INSTALL),1)
export RUSTUP_AUTO_INSTALL := 0
export CARGO_NET_OFFLINE := true
endif

# A build that nobody goes on editing has no use for incremental state, and that is a third of the disk it takes.
ifdef CI
export CARGO_INCREMENTAL := 0
endif

.PHONY: help setup build demo lint check test test-pipeline e2e throughput chaos kubernetes chart-test dist bench fuzz deny fmt clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Fetch what is missing (prints what first; WAYBILL_NO_INSTALL=1 forbids it)
	@scripts/setup.sh

build: ## Build the waybill program
	cargo build --locked -p waybill

demo: setup build ## Track 2,000 simulated parcels politely; ARGS="--for 120s" ends it
	$(BIN) standalone --demo $(ARGS)

# Not optimised and without debug information: what is checked here is short, compiling it is not.
lint check: export CARGO_PROFILE_DEV_OPT_LEVEL = 0
lint check: export CARGO_PROFILE_DEV_DEBUG = none
lint: ## Format, and lints with warnings denied
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

check: lint ## Lints, unit and golden tests
	cargo test --locked --workspace --lib --test golden --test files --test schemas --test asyncapi --test docs --quiet

test: setup kubernetes ## The whole proof: lints, every test, and the real parts end to end, every fault in its short form
	@scripts/room.sh
	@$(MAKE) --no-print-directory lint
	WAYBILL_CLUSTER=1 cargo test --locked --workspace --tests --quiet --no-fail-fast -- --show-output

test-pipeline: setup ## Only the whole-pipeline tests
	cargo test --locked -p waybill --test '*' -- --nocapture

e2e: setup kubernetes ## Only the cluster on a real broker: three processes of each service, with the chart's command lines
	WAYBILL_CLUSTER=1 cargo test --locked -p waybill --test e2e --test rollback -- --show-output

throughput: setup kubernetes ## What each stage takes a second on a real broker, behind a million records, and its memory
	WAYBILL_CLUSTER=1 WAYBILL_LAG=$${WAYBILL_LAG:-1000000} WAYBILL_PARCELS=$${WAYBILL_PARCELS:-20000} cargo test --locked --profile bench -p waybill --test stages -- --show-output --test-threads 1

chaos: setup kubernetes ## The long form of every fault, on a real broker (about 20 minutes); WAYBILL_SEED=N replays one
	WAYBILL_CLUSTER=1 WAYBILL_CHAOS=long cargo test --locked --profile bench -p waybill --test chaos -- --show-output --test-threads 1
	WAYBILL_CHAOS=long cargo test --locked -p waybill-log --test kafka -- --show-output

# Without Go the chart's tests skip, aloud; in CI they fail.
kubernetes: ## Build helm and the Kubernetes API server that the chart is tested with, once (says so first)
	@scripts/kubernetes.sh build || { code=$$?; [ "$$code" -eq 3 ] && [ -z "$${CI:-}" ]; }

chart-test: kubernetes ## Check the chart and install it into a real Kubernetes API server; check the release's packing
	cargo test --locked -p waybill --test kubernetes --test dist -- --show-output

PROFILE ?= release
DIST ?= dist
dist: ## Build the release tarball into dist/; PROFILE=dev packs the daily build instead
	cargo build --locked --profile $(PROFILE) -p waybill
	@scripts/dist.sh $(CARGO_TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/waybill $(DIST)

bench: setup ## Print figures as `name value unit` lines and JSON; ARGS="--json FILE" or a part of a name
	cargo bench --locked -p waybill --bench figures -- $(ARGS)

fuzz: ## Fuzz the readers (needs nightly Rust and cargo-fuzz); ARGS="html 600" is one target, ten minutes
	@scripts/fuzz.sh $(ARGS)

deny: ## Check licences, advisories and duplicate dependencies (needs cargo-deny)
	cargo deny check

fmt: ## Format the code
	cargo fmt --all

clean: ## Remove what the demo keeps; the cache stays
	rm -rf waybill-data-demo
