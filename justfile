# The daily commands. `just` without a name lists them.

[private]
default:
    @just --list --unsorted

# The program, and everything else that is built
build:
    cargo build --workspace --all-targets

# All tests: units, stories, foreign clients; with words, only the tests whose names contain them
test *words:
    cargo test --workspace -- {{words}}

# Only the stories, against the real program
stories *words:
    cargo test --package hubbub-tests --test stories -- {{words}}

# Kill the hub under load again and again, and see that nothing acknowledged is lost: `just crash 1000`
crash kills="200":
    HUBBUB_CRASHES={{kills}} cargo test --package hubbub-tests --test crash -- --nocapture

# Ten thousand who are silent before their login, and a gigabyte for readers who do not read: prints what it measures
crowds:
    ulimit -n "$(ulimit -H -n)" && cargo test --package hubbub-tests --test security crowds -- --ignored --nocapture --test-threads 1

# Only the clients that we did not write
foreign *words:
    cargo test --package hubbub-tests --test foreign -- {{words}}

# Feed one target with whatever comes: `just fuzz session 600`; CONTRIBUTING.md has the names and what to do with a find
fuzz target seconds="60":
    mkdir -p target/fuzz/{{target}}
    cargo +nightly fuzz run --fuzz-dir tests/fuzz {{target}} target/fuzz/{{target}} tests/fuzz/corpus/{{target}} -- -max_total_time={{seconds}} -timeout=25 -rss_limit_mb=3000

# Keep what fuzzing one target came to: the few cases that reach code which the committed corpus does not
fuzz-keep target:
    cargo +nightly fuzz run --fuzz-dir tests/fuzz {{target}} tests/fuzz/corpus/{{target}} target/fuzz/{{target}} -- -set_cover_merge=1 -use_counters=0

# Format, lints and documentation, with warnings denied
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace

# Write the format that `lint` wants
fmt:
    cargo fmt --all

# A hub without passwords, on loopback, with its data in ./data
serve *flags:
    cargo run --release --package hubbub -- serve --dev {{flags}}

# Measure a broker: `just bench p2p --qos 1`; `just bench --help` lists what there is
bench *flags:
    cargo run --release --package hubbub -- bench {{flags}}

# Measure this beside other brokers that are at hand: `just bench-peers flashmq=/opt/flashmq`; `--help` has the options
bench-peers *flags:
    tests/bench/peers {{flags}}

# What runs before a change lands
ci:
    .ci/run
