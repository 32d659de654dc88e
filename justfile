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

# Only the clients that we did not write
foreign *words:
    cargo test --package hubbub-tests --test foreign -- {{words}}

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

# What runs before a change lands
ci:
    .ci/run
