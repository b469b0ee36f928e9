# The commands of this project. `make run` for a first look, `make test` for all that must hold.

.PHONY: run build test lint bench bench-ledger bench-ledger-away bench-overload bench-peers flame budget budget-set fuzz differ

run:
	cargo run --release --locked -- demo

build:
	cargo build --release --locked

test:
	sh tests/install.sh
	cargo test --locked

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

bench:
	cargo bench --locked

# The gatekeeper beside nginx, haproxy and caddy on this machine, with two cores: `make bench-peers ARGS="--cases allowed --rounds 5"`.
bench-peers: build
	sh benches/peers/install.sh
	cargo build --release --locked --manifest-path benches/peers/floor/Cargo.toml --target-dir target/floor
	python3 benches/peers/run.py $(ARGS)

# Where the time of a call goes: docs/performance.svg, and a table. Needs perf, with leave to sample the kernel.
flame: build
	sh benches/peers/install.sh
	python3 benches/peers/flame.py $(ARGS)

# What a call costs in instructions, as shipped, against benches/budget.toml; and the file, counted again. Needs valgrind.
budget: build
	python3 -B -m unittest discover -s benches/budget
	python3 benches/budget/count.py check

budget-set: build
	python3 benches/budget/count.py set

# What callers notice of a minute without the database: beside it, without it, beside it again.
bench-ledger-away:
	cargo test --release --locked --test it -- --ignored --exact --nocapture ledger_faults::away::a_minute_without_a_database

# Twice the calls that can be carried: how many are, how fast, and what it costs. With two cores or more the gatekeeper has one to itself.
bench-overload:
	cargo test --release --locked --test it -- --ignored --exact --nocapture overload::bench::at_twice_what_can_be_done

# The tables with 10 million calls in them: what the runbook asks, and retention while calls are made. 20 GB in /tmp and target/.
bench-ledger:
	LEDGER_ROWS=$${LEDGER_ROWS:-10000000} cargo test --release --locked --test it -- ledger_scale --nocapture --test-threads 1

# Needs cargo-fuzz: cargo install cargo-fuzz
fuzz:
	cd fuzz && for target in envelope headers sql gate journal; do RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -max_total_time=60 || exit 1; done

# Needs libclang; see oracle/README.md
differ:
	cargo run --release --locked --manifest-path oracle/Cargo.toml --bin differ -- --seconds 60
