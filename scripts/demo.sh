#!/usr/bin/env bash
# Builds Augur and runs its demo: events in, features, a trained model, decisions out, and their replay.
# Arguments go to `augur demo`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
cargo build --locked --release --bin augur
exec target/release/augur demo "$@"
