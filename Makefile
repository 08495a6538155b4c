# Every command that a person needs. `make help` lists them.

export CARGO_TARGET_DIR ?= $(CURDIR)/target
BOOTSTRAP ?= 127.0.0.1:9092

.PHONY: help demo dev up down status logs test sim mutations check bench fmt build tools clean

help: ## list every target
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## stream real data through three brokers, kill the leader meanwhile, show that nothing is lost
	@ops/local/install run || true
	@ops/local/demo

dev: build ## one process with everything, on the embedded store (9092); needs nothing else
	@$(CARGO_TARGET_DIR)/release/ottla dev

up: build ## start BROKERS=1 brokers on 9092, 9093, …, COORDINATORS=1, and an etcd of ETCD=1 members
	@ops/local/install run
	@ops/local/cluster up "$(BROKERS)" "$(COORDINATORS)" "$(ETCD)"

down: ## stop them; the data stays in .run, unless DATA=delete
	@ops/local/cluster down "$(DATA)"

status: ## what runs, and the cluster as the coordinator sees it
	@ops/local/cluster status

logs: ## follow the logs of every process
	@ops/local/cluster logs

test: tools ## every test, against real etcd and real clients
	@ops/local/install test
	cargo build --workspace --bins
	ETCD="$$(ops/local/etcd-path)" cargo test --workspace --exclude ottla-client
	ops/local/with-cluster cargo test -p ottla-client

soak: tools ## the long forms of the experiments: power cuts, zombies, the store away for a minute, 10,000 partitions
	cargo build --workspace --bins
	ETCD="$$(ops/local/etcd-path)" OTTLA_SOAK=1 OTTLA_SOAK_CUTS=$(or $(CUTS),50) \
		cargo test -p ottla-integration-tests --test bad_days lease -- --nocapture --test-threads 1
	ETCD="$$(ops/local/etcd-path)" OTTLA_SOAK=1 \
		cargo test -p ottla-integration-tests --test failover -- --nocapture --test-threads 1

sim: tools ## run SEEDS=1000 seeds of the simulator, from FIRST_SEED=1 on
	OTTLA_SIM_SEEDS=$(or $(SEEDS),1000) OTTLA_SIM_FIRST_SEED=$(or $(FIRST_SEED),1) \
		cargo test -p ottla-integration-tests --test simulation

mutations: tools ## take every rule of ARCHITECTURE.md out of the code, one by one, and see its test fail (FILTER=words)
	ETCD="$$(ops/local/etcd-path)" nice -n 10 cargo run -q -p ottla-xtask -- mutations "$(FILTER)"

check: tools ## formatting, lints, tidy, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo run -q -p ottla-xtask -- tidy
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc -q --workspace --no-deps --document-private-items

bench: tools ## micro-benchmarks, printed beside the machine's own limits
	cargo bench --workspace

fmt: ## format the sources
	cargo fmt --all

build: tools ## release binaries
	@cargo build --release -p ottla-broker -p ottla-coordinator -p ottla-cli

tools: # what compiling needs
	@ops/local/install build

clean: ## remove what was built; the data in .run stays
	cargo clean
