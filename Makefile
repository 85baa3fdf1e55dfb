# The two commands: `make up` runs a cluster on this machine, `make test` proves it.
# Each target installs what it needs and this machine lacks; see .ci/setup.

CARGO ?= cargo
# Options for `echoctl up` or `echo-bench run`, as in: make up ARGS="--nodes 5".
ARGS ?=
# Of `make chaos`: how long, and which faults; empty: others at each run.
MINUTES ?= 10
SEED ?=
# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help up test chaos cells bench lint build

help:
	@echo 'make up      a whole cluster on this machine; Ctrl-C ends it   (ARGS="--nodes 5")'
	@echo 'make test    all tests, with real processes and a real etcd'
	@echo 'make chaos   random kills and stops under traffic for ten minutes   (MINUTES=10, SEED=)'
	@echo 'make cells   what was seen when each process and each link was killed, stopped or cut'
	@echo 'make bench   the figures of the README, measured here and now   (ARGS="--minutes 0")'
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

# Random kills and stops of random processes under checked traffic; SEED repeats a run.
chaos:
	@.ci/setup test
	$(CARGO) build --workspace --locked --bins
	MINUTES=$(MINUTES) SEED=$(SEED) $(CARGO) test -p echo-tests --locked --test chaos the_cluster -- --nocapture

# The table of what is cut, killed and stopped, and what was seen.
cells:
	@.ci/setup test
	$(CARGO) build --workspace --locked --bins
	@$(CARGO) test -p echo-tests --locked --no-fail-fast --test partition --test partition_rollout --test survival --test survival_hosts \
		-- --nocapture >$(TARGET)/cells.log; status=$$?; grep '^cell: ' $(TARGET)/cells.log; exit $$status

# Fails when a number of the project is missed, after all is measured and written.
bench:
	@.ci/setup bench
	$(CARGO) build --release --locked --bins
	@tests/bench.sh $(TARGET)/release
	@status=0; export PATH="$(CURDIR)/target/tools/bin:$$PATH"; \
		$(TARGET)/release/echo-bench fleet --binaries $(TARGET)/release --out $(TARGET)/bench || status=$$?; \
		$(TARGET)/release/echo-bench run --binaries $(TARGET)/release --out $(TARGET)/bench $(ARGS) || status=$$?; \
		exit $$status

lint:
	@.ci/setup lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked --quiet
	$(CARGO) deny --log-level error check licenses bans sources
