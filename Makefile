# Every check is a recipe; CI calls recipes only.

SHELL := /bin/bash
TARGET := x86_64-unknown-linux-gnu
BINARY := target/$(TARGET)/release/schemagate
# Bytes, as they are and compressed. The bar of the image is the bar of the binary: nothing else is in it.
SIZE_LIMIT := 6291456
PACKED_LIMIT := 3145728
IMAGE := schemagate:dev

.DEFAULT_GOAL := help
.PHONY: help setup build image test chaos fuzz demo lint deny size bench e2e

help: ## Show this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

setup: ## Install what the tests need and what is missing (Debian 12, toolchains of Rust and Go)
	@tests/setup

build: ## Build the static binary
	@image/build $(TARGET)

image: build ## Build the image schemagate:dev around it, in the local engine; pulls nothing
	@tar --create --owner=0 --group=0 --mtime=@0 --directory=image prebuilt.Dockerfile --directory=$(abspath $(dir $(BINARY))) schemagate \
		| docker build --quiet --file prebuilt.Dockerfile --tag $(IMAGE) \
			--build-arg VERSION="$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)" \
			--build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" - >/dev/null
	@docker image inspect --format '$(IMAGE): {{.Size}} bytes' $(IMAGE)

test: setup ## Run every test against real servers and the real other tools
	cargo test --locked --no-fail-fast

# A number, or random; a failed run names the seed of its round (tests/chaos/README.md).
CHAOS_SEED ?= random
CHAOS_FAULTS ?= 3000
chaos: setup ## Break everything at random moments, long (CHAOS_SEED, CHAOS_FAULTS)
	$(if $(CHAOS_KEEP),CHAOS_KEEP=1) CHAOS_SEED=$(CHAOS_SEED) CHAOS_FAULTS=$(CHAOS_FAULTS) cargo test --locked --test chaos -- --nocapture

FUZZ_SECONDS ?= 300
# A number, or 0 for a random one; the log of a target names it.
FUZZ_SEED ?= 0
fuzz: ## Feed every parser what nobody would write (FUZZ_SECONDS for each)
	@tests/setup fuzz
	FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$(FUZZ_SEED) tests/fuzz/run

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

size: build ## Print the binary's size, also compressed; fail above the limits
	@printf '%s %s %s\n' "$$(stat -c %s $(BINARY))" $(SIZE_LIMIT) '' "$$(gzip -9 <$(BINARY) | wc -c)" $(PACKED_LIMIT) compressed \
		| awk '{ printf "$(BINARY): %d bytes, %.2f MiB (limit %.2f MiB) %s\n", $$1, $$1 / 1048576, $$2 / 1048576, $$3; \
			above += $$1 > $$2 } END { exit above > 0 }'

bench: setup build ## Measure beside psql and other tools
	tests/bench/run

ifeq ($(CLUSTER),local)
e2e: image
	tests/k8s/cluster/e2e $(IMAGE)
else
e2e: ## Run the promises about Kubernetes on the cluster of kubectl, which knows IMAGE; CLUSTER=local makes a cluster
	tests/k8s/e2e.sh $(IMAGE)
endif
