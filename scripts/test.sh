#!/usr/bin/env bash
# Every test of the workspace, the golden replay and the house rules among them. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
exec cargo test --locked --workspace "$@"
