# Every target brings what it needs (Debian 12 and its kin; elsewhere it says what is missing).
SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin

# `make install` takes what is built; packagers set DESTDIR, PREFIX and UNITS.
PROFILE ?= release
PREFIX ?= /usr/local
UNITS ?= $(if $(filter /usr,$(PREFIX)),/usr/lib,/etc)
BUILT = $(or $(CARGO_TARGET_DIR),target)/$(PROFILE)
SHARE = $(DESTDIR)$(PREFIX)/share
MAN = $(SHARE)/man
DOC = $(SHARE)/doc/spa
INSTALLED_TO = $(PREFIX)/bin $(PREFIX)/sbin $(MAN)/man1 $(MAN)/man5 $(MAN)/man8 \
	$(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions \
	$(SHARE)/fish/vendor_completions.d $(DOC)/examples \
	$(UNITS)/systemd/system $(UNITS)/sysusers.d $(UNITS)/tmpfiles.d

.PHONY: build build-minimal quick release install uninstall deb demo test test-all attack soak \
	systemd-test package-test bench models fuzz man lint metrics clean

build:
	@tests/install-tools.sh build
	cargo build --workspace --bins

release:
	@tests/install-tools.sh build
	cargo build --workspace --bins --release

# Optimised, and built in half the time of a release.
quick:
	@tests/install-tools.sh build
	cargo build --workspace --bins --profile quick

# A server without the live view and pictures: fewer crates, for small machines and for auditors.
build-minimal:
	cargo build --package spa-server --no-default-features --bins
	@echo "spa-server without the features top and png: \
	$$(cargo tree --package spa-server --no-default-features --edges normal --prefix none | \
	    sed 's/ (.*)$$//' | sort -u | wc -l) crates; with them: \
	$$(cargo tree --package spa-server --edges normal --prefix none | \
	    sed 's/ (.*)$$//' | sort -u | wc -l)"

# Programs, manual pages, completions, the systemd unit with its user and folder; a running systemd
# is told of them. Overwrites nothing in /etc/spa. Folders that it makes are noted, for `uninstall`.
install:
	@if [ -z "$(DESTDIR)" ]; then \
		made=$$(for folder in $(INSTALLED_TO); do while [ ! -d $$folder ]; do \
			echo $$folder; folder=$$(dirname $$folder); done; done | sort -u); \
		mkdir -p $(DOC) && touch $(DOC)/folders && \
		if [ -n "$$made" ]; then printf '%s\n' $$made >>$(DOC)/folders; fi; fi
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(BUILT)/spa $(BUILT)/spa-client
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/sbin $(BUILT)/spa-server
	install -D -m 644 -t $(MAN)/man1 docs/man/*.1
	install -D -m 644 -t $(MAN)/man5 docs/man/*.5
	install -D -m 644 -t $(MAN)/man8 docs/man/*.8
	install -d $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions
	install -d $(SHARE)/fish/vendor_completions.d
	for program in spa spa-client spa-server; do \
		$(BUILT)/$$program completions bash > $(SHARE)/bash-completion/completions/$$program && \
		$(BUILT)/$$program completions zsh > $(SHARE)/zsh/site-functions/_$$program && \
		$(BUILT)/$$program completions fish >$(SHARE)/fish/vendor_completions.d/$$program.fish \
			|| exit 1; \
	done
	install -D -m 644 pkg/systemd/spa-server.service \
		$(DESTDIR)$(UNITS)/systemd/system/spa-server.service
	install -D -m 644 pkg/systemd/spa.sysusers $(DESTDIR)$(UNITS)/sysusers.d/spa.conf
	install -D -m 644 pkg/systemd/spa.tmpfiles $(DESTDIR)$(UNITS)/tmpfiles.d/spa.conf
	install -D -m 644 -t $(DOC)/examples pkg/examples/*.toml
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then \
		systemd-sysusers && systemd-tmpfiles --create spa.conf && systemctl daemon-reload; fi

# Undoes `install`; keeps keys, clients and records unless PURGE=yes. See pkg/uninstall.sh.
uninstall: export DESTDIR := $(DESTDIR)
uninstall: export PREFIX := $(PREFIX)
uninstall: export UNITS := $(UNITS)
uninstall: export BUILT := $(BUILT)
uninstall: export PURGE := $(PURGE)
uninstall:
	@pkg/uninstall.sh

# Debian packages in target/packages. See docs/packages.md.
deb: release
	@tests/install-tools.sh deb
	@rm -rf $(or $(CARGO_TARGET_DIR),target)/packages
	@pkg/debian/build.sh $(BUILT) $(or $(CARGO_TARGET_DIR),target)/packages

# Two hosts and a stranger on this machine: hidden, opened, used, closed.
demo:
	@tests/install-tools.sh demo
	@cargo build --workspace --bins
	@cargo build --package spa-tests --examples
	@tests/demo/demo.sh

# All tests; the last line is "N passed, N failed".
test:
	@tests/run.sh

# Every group of tests/groups.txt: all tests, and the long forms. Takes an hour.
test-all:
	@tests/all.sh

# Each attack for half a minute, against optimised programs, while a client knocks. Needs root.
attack:
	@tests/install-tools.sh test
	cargo build --workspace --bins --profile quick
	SPA_ATTACK_SECONDS=30 cargo test --profile quick --package spa-tests --test attack -- --nocapture

# Twenty minutes of fifty clients, and of all that a host does to a server. Needs root.
# SPA_SOAK_SEED=N repeats a run, as far as time can be repeated.
soak:
	@tests/install-tools.sh test
	cargo build --workspace --bins --profile quick
	cargo build --package spa-tests --example moved_clock --profile quick
	SPA_SOAK_SECONDS=1200 cargo test --profile quick --package spa-tests --test soak -- --nocapture

# The pages and the unit on a real systemd: boots a small Debian in a container. Needs root;
# downloads 60 MB.
SUITE ?= bookworm
systemd-test:
	@tests/install-tools.sh systemd
	@cargo build --workspace --bins
	@tests/systemd/boot.sh $(SUITE)

# The Debian packages, of which lintian finds nothing to say, on the same. A second pair, of a later
# version, is for upgrades.
package-test: TESTED = $(or $(CARGO_TARGET_DIR),target)/package-test
package-test:
	@tests/install-tools.sh systemd
	@tests/install-tools.sh deb
	@cargo build --workspace --bins
	@rm -rf $(TESTED)
	@pkg/debian/build.sh $(or $(CARGO_TARGET_DIR),target)/debug $(TESTED)
	@SPA_VERSION=999.0 pkg/debian/build.sh $(or $(CARGO_TARGET_DIR),target)/debug $(TESTED)/newer
	@lintian --allow-root --fail-on error,warning $(TESTED)/*.deb
	@tests/systemd/boot.sh $(SUITE) packages.sh

# Time to open, cost of packets and clients, floods; fwknop beside it. Takes minutes.
bench:
	@tests/bench/bench.sh

# Each fuzzing target for SECONDS, by libFuzzer; and whether five planted faults are found.
SECONDS ?= 60
fuzz:
	@tests/install-tools.sh fuzz
	@fuzz/run.sh $(SECONDS)
	@fuzz/planted.sh

# The symbolic models of docs/models, with the tools that are here. Takes minutes.
models:
	@docs/models/run.py --check
	@PATH="$$PATH:$$PWD/target/verifpal/bin"; command -v verifpal >/dev/null || \
		cargo install verifpal --version 1.6.7 --ignore-rust-version --quiet \
			--root target/verifpal || true; \
		docs/models/run.py

# Writes docs/man anew from the programs' own options; a test compares.
man:
	SPA_MAN=write cargo test --quiet --package spa-keys --package spa-client \
		--package spa-server --bins manual_page

lint:
	@tests/install-tools.sh build
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || \
		rustup component add rustfmt clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --package spa-client --no-default-features --all-targets -- -D warnings
	cargo clippy --package spa-server --no-default-features --all-targets -- -D warnings

# Figures of the sources as a table; CONTRIBUTING.md shows them.
metrics:
	@cargo run --quiet --package spa-tests --example metrics

clean:
	cargo clean
