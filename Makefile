# Every target brings what it needs (Debian 12 and its kin; elsewhere it says what is missing).
SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: build demo test bench lint clean

build:
	@tests/install-tools.sh build
	cargo build --workspace --bins

# Two hosts and a stranger on this machine: hidden, opened, used, closed.
demo:
	@tests/install-tools.sh demo
	@cargo build --workspace --bins
	@cargo build --package spa-tests --examples
	@tests/demo/demo.sh

# All tests; the last line is "N passed, N failed".
test:
	@tests/run.sh

# Time to open, cost of packets and clients, floods; fwknop beside it. Takes minutes.
bench:
	@tests/bench/bench.sh

lint:
	@tests/install-tools.sh build
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

clean:
	cargo clean
