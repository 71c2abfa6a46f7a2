# Each line is a cargo or aegis command; what is missing is set up first.
# One profile (dev, with optimised dependencies) serves `dev`, `test` and the examples, so that wasmtime is compiled once;
# `bench` measures the release.
.PHONY: dev build test test-languages test-cluster languages nightly fuzz fuzz-briefly bench lint examples guards audit setup setup-tests setup-lint setup-fuzz setup-languages setup-cluster

AEGIS := target/debug/aegis
TOOLS := PATH="$(CURDIR)/target/tools/python/bin:$(CURDIR)/target/tools/node_modules/.bin:$$PATH" # as setup-languages installs them

dev: build                 ## start the server, ready for the walkthrough
	$(AEGIS) dev

build: setup
	cargo build --workspace --locked

test: setup-tests          ## set up what is missing, run every test
	cargo build --workspace --locked
	$(TOOLS) cargo test --workspace --locked --no-fail-fast
	cd sdk/rust && cargo test --locked --workspace --all-features
	! command -v python3 >/dev/null || (cd sdk/python && python3 -B -m unittest --quiet)
	! $(TOOLS) command -v esbuild >/dev/null || $(TOOLS) esbuild sdk/javascript/tests/guard.test.ts --bundle --platform=node --format=esm --outfile=target/guard.test.mjs --log-level=warning
	! $(TOOLS) command -v esbuild >/dev/null || node --test target/guard.test.mjs
	cd guards && cargo test --locked --workspace

test-languages: setup-languages ## build guards in all languages, run their cases; says what it skipped
	cargo build --workspace --locked
	! $(TOOLS) command -v go >/dev/null || (cd sdk/go && PATH="$(CURDIR)/target/tools/python/bin:$$PATH" go test ./...)
	$(TOOLS) AEGIS_LANGUAGES=all cargo test --workspace --locked --test aegis languages -- --nocapture

test-cluster: setup-cluster ## Postgres on three nodes whose primary is killed, held still and left alone under load
	cargo build --workspace --locked
	AEGIS_CLUSTER=1 cargo test --workspace --locked --test aegis cluster -- --nocapture --test-threads 1
	AEGIS_CLUSTER=1 cargo test --workspace --locked --lib a_cluster_ -- --nocapture

languages: setup-languages ## measure the example guard in every language; the table of docs/languages.md
	cargo build --release -p aegis -p aegis-bench --locked
	$(TOOLS) target/release/languages

nightly: setup-tests       ## what takes long: 200 crashes of the real host, 200 blows to two hosts and their Postgres, 200 power cuts of a database
	cargo build --workspace --locked
	AEGIS_CRASH_ROUNDS=200 cargo test --workspace --locked --test aegis --test crash crash -- --nocapture

MINUTES ?= 5
fuzz: setup-fuzz           ## every fuzz target for MINUTES each, and guests that nobody wrote; what crashes is kept in fuzz/artifacts
	fuzz/run.sh $$(($(MINUTES) * 60))
	AEGIS_SMITH=$$(date +%s) AEGIS_FUZZ_SECONDS=$$(($(MINUTES) * 60)) cargo test --workspace --locked --test sandbox nobody_wrote -- --nocapture

SECONDS_EACH ?= 30
fuzz-briefly: setup-fuzz   ## every fuzz target for half a minute, two at a time: what CI does of it
	FUZZ_JOBS=2 fuzz/run.sh $(SECONDS_EACH)

bench: setup               ## build the release, measure it; the tables of docs/performance.md
	cargo build --release -p aegis -p aegis-bench --locked
	target/release/runs
	target/release/scans
	target/release/stores
	target/release/hosts

examples: build            ## run every example against the real binary
	for example in examples/*/run.sh; do bash "$$example" || exit 1; done

guards: build              ## build the standard guards anew
	$(AEGIS) guard build guards/patterns -o guards/patterns.wasm
	cd guards && sha256sum patterns.wasm > patterns.wasm.sha256
	$(AEGIS) guard build guards/sensitive-topic -o guards/sensitive_topic.wasm
	cd guards && sha256sum sensitive_topic.wasm > sensitive_topic.wasm.sha256

lint: setup-lint           ## what CI demands beside the tests
	cargo fmt --all --check
	cd sdk/rust && cargo fmt --all --check
	cd guards && cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cd sdk/rust && cargo clippy --all-targets --all-features --locked -- -D warnings
	cd guards && cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo deny --locked --offline check bans licenses sources
	! $(TOOLS) command -v hadolint >/dev/null || $(TOOLS) hadolint deploy/Containerfile

audit: setup-lint          ## known advisories; needs the network
	cargo deny --locked check advisories

setup:
	scripts/setup.sh

setup-tests:
	scripts/setup.sh --tests

setup-lint:
	scripts/setup.sh --lint

setup-fuzz:
	scripts/setup.sh --fuzz

setup-languages:
	scripts/setup.sh --languages

setup-cluster:
	scripts/setup.sh --cluster
