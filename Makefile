# Thin on purpose: what is more than a line or two lives in scripts/ and crates/xtask.

SHELL := /bin/bash
.SHELLFLAGS := -euc
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

BUILT := $${CARGO_TARGET_DIR:-target}/release
BIN := $(BUILT)/clvstream
XTASK := scripts/with-progress cargo run --quiet --release -p xtask --

# P=crate restricts the tests to a package, T=name to tests whose name contains it.
SELECT = $(addprefix --package ,$(P)) $(T)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## check for what builds and tests need, install what is missing
	@scripts/deps

.PHONY: deps-build
deps-build:
	@scripts/deps build

.PHONY: build
build: deps-build ## build the program (target/release/clvstream)
	@scripts/with-progress cargo build --release --workspace

.PHONY: demo
demo: build ## run the pipeline over the CDNOW orders; SERVE=1 stays up, DATA=file reads another file
	@"$(BIN)" demo $(if $(DATA),--data "$(DATA)") $(if $(filter-out 0,$(SERVE)),--serve)

.PHONY: test
test: deps ## formatting, lints and all tests but the long ones; P=crate, T=part of a name
	@scripts/deps-test
	@$(XTASK) test $(SELECT)

.PHONY: test-long
test-long: deps ## the long tests only
	@$(XTASK) test --long $(SELECT)

.PHONY: sim
sim: ## simulate instances on a Kafka in memory with faults from seeds; SEEDS=n (default 500)
	@cargo run --quiet --release -p sim -- --seeds $(or $(SEEDS),500)

.PHONY: mutants
mutants: ## check that the simulation catches every way of breaking the protocol; SEEDS=n for each
	@cargo run --quiet --release -p sim -- --mutants --seeds $(or $(SEEDS),500)

.PHONY: bench
bench: build ## measure throughput and CPU on synthetic and real data; EVENTS=n
	@scripts/bench $(EVENTS)

.PHONY: chaos
chaos: deps ## faults against one and three brokers on this machine; MINUTES=n, SEED=n
	@scripts/with-progress cargo build --release --workspace --features clvstream/failpoints --bin clvstream-failpoints
	@scripts/with-progress cargo build --release --workspace --bin chaos
	@"$(BUILT)/chaos" --minutes $(or $(MINUTES),5) --seed $(or $(SEED),1) \
		--program "$(BUILT)/clvstream-failpoints" --json "$(BUILT)/../chaos.json"

.PHONY: kafka-up
kafka-up: deps ## start a real Kafka for development, fetched from Maven Central; says its address
	@scripts/kafka up

.PHONY: kafka-down
kafka-down: ## stop it; its data stays in .kafka/dev
	@scripts/kafka down

.PHONY: fmt
fmt: deps-build ## format the code
	@cargo fmt --all

.PHONY: lint
lint: deps-build ## clippy, warnings as errors
	@scripts/with-progress cargo clippy --workspace --all-targets --release -- -D warnings

.PHONY: clean
clean: ## remove what was built
	@cargo clean
