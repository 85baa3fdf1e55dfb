# The two commands: `make up` runs a cluster on this machine, `make test` proves it.
# Each target installs what it needs and this machine lacks; see .ci/setup.

CARGO ?= cargo
# Options for `echoctl up`, as in: make up ARGS="--nodes 5".
ARGS ?=
# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help up test bench lint build

help:
	@echo 'make up      a whole cluster on this machine; Ctrl-C ends it   (ARGS="--nodes 5")'
	@echo 'make test    all tests, with real processes and a real etcd'
	@echo 'make bench   the figures of the README, measured here and now'
	@echo 'make lint    format, clippy, licences and sources of the dependencies'
	@echo 'make build   release binaries in $(TARGET)/release'

build:
	@.ci/setup build
	$(CARGO) build --release --locked --bins

up:
	@.ci/setup run
	@$(CARGO) build --release --locked --bins
	@exec $(TARGET)/release/echoctl up $(ARGS)

# The binaries first: the tests in tests/ run them as processes.
test:
	@.ci/setup test
	$(CARGO) build --workspace --locked --bins
	$(CARGO) test --workspace --locked

bench:
	@.ci/setup run
	$(CARGO) build --release --locked --bins
	@tests/bench.sh $(TARGET)/release
	@probe/bench.sh $(TARGET)/release

lint:
	@.ci/setup lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked --quiet
	$(CARGO) deny --log-level error check licenses bans sources
