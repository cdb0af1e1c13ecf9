# The two that matter: `make demo` and `make test`. Each sets up what is missing.
.PHONY: setup demo test lint bench soak fuzz coverage colcon up

CARGO_TERM_PROGRESS_WHEN ?= auto

setup:
	@./setup

# The main job: a simulated robot perceives, remembers, recalls and moves. BAG=file.mcap takes a real recording instead.
demo: setup
	@cargo build --quiet
	@target/debug/ecps demo $(if $(BAG),--bag "$(BAG)")

# Everything that can be checked without looking. ECPS_BAG names the real recording, where there is one.
test: setup
	@cargo build
	@cargo test --workspace

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# Measures, beside peers, and appends to benches/RESULTS.md. BENCH=name runs one of node, eap, journal, memory, ltp, perception, end_to_end,
# swarm, trust, consensus, and memory_large, which is not among those that run without a name.
bench: setup
	@tools/bench_photo || echo 'without scikit-learn and SciPy, the photo of bench ltp is made up, and bench swarm has no peer for assignments'
	@tools/bench_vectors || echo 'without scikit-learn, qdrant-edge, sqlite-vec and usearch, bench memory measures the service alone'
	@tools/bench_loaned || echo 'without rcl, bench ltp has no rows of lent messages'
	@tools/bench_etcd || echo 'without etcd, bench consensus has no peer'
	@cargo build --workspace --bins --examples
	@cargo bench --quiet --workspace --profile dev --bench figures -- $(BENCH)

# The same tests with campaigns at full length; appends what ran to benches/RESULTS.md.
soak: setup
	@tools/soak

# Inputs made up by libFuzzer, a minute for each target; tools/fuzz SECONDS TARGET… for more.
fuzz:
	@tools/fuzz

# Line coverage of the libraries' and the nodes' own tests.
coverage: setup
	@tools/coverage

# What a ROS 2 workspace would do.
colcon: setup
	@. ./setup.bash && colcon build --base-paths . msg ros_pkgs

# The whole stack, for a robot that publishes /scan and /odom.
up: setup
	@cargo build --quiet
	@target/debug/ecps up
