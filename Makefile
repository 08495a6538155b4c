.PHONY: help check test fmt clean
help: ## list every target
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
check: ## formatting, lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
test: ## every test
	cargo test --workspace
fmt: ## format the sources
	cargo fmt --all
clean: ## remove what was built
	cargo clean
