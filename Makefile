# Every check is a recipe; CI calls recipes only.

SHELL := /bin/bash
TARGET := x86_64-unknown-linux-gnu
BINARY := target/$(TARGET)/release/schemagate
# Bytes. The bar of the image is the bar of the binary: nothing else is in it.
SIZE_LIMIT := 6291456

.DEFAULT_GOAL := help
.PHONY: help setup build test chaos fuzz demo lint deny size bench

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

setup: ## Install what the tests need and what is missing (Debian 12, toolchains of Rust and Go)
	@tests/setup

build: ## Build the static binary
	cargo build --release --locked
	@file=$(BINARY); test -x $$file && echo "$$file"

test: setup ## Run every test against real servers and the real other tools
	cargo test --locked --no-fail-fast

# A number, or random; a failed run names the seed of its round (tests/chaos/README.md).
CHAOS_SEED ?= random
CHAOS_FAULTS ?= 3000
chaos: setup ## Break everything at random moments, long (CHAOS_SEED, CHAOS_FAULTS)
	$(if $(CHAOS_KEEP),CHAOS_KEEP=1) CHAOS_SEED=$(CHAOS_SEED) CHAOS_FAULTS=$(CHAOS_FAULTS) cargo test --locked --test chaos -- --nocapture

FUZZ_SECONDS ?= 300
fuzz: ## Feed every parser what nobody would write (FUZZ_SECONDS for each)
	@tests/setup fuzz
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run

demo: ## Show the main job on a throwaway server: apply, skip, race
	@tests/setup server
	@$(MAKE) --no-print-directory build
	@tests/demo

lint: ## Formatting, clippy and the documentation, warnings are errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib --quiet

deny: ## Licences, sources, bans; advisories where the database can be fetched
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check bans licenses sources
	@if timeout 120 cargo deny fetch db >/dev/null 2>&1; then \
		echo "cargo deny check advisories"; cargo deny check advisories; \
	else \
		echo "advisories NOT checked: the advisory database could not be fetched"; \
	fi

size: build ## Print the binary's size; fail above the limit
	@stat -c %s $(BINARY) | awk '{ printf "$(BINARY): %d bytes, %.2f MiB (limit %.2f MiB)\n", $$1, $$1 / 1048576, $(SIZE_LIMIT) / 1048576; \
		exit $$1 > $(SIZE_LIMIT) }'

bench: setup build ## Measure beside psql and other tools
	tests/bench/run
