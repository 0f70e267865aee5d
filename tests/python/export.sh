#!/usr/bin/env bash
# Opens an export of the decision log with pyarrow, DuckDB and polars. Arguments go to unittest.
#
# AUGUR_BIN names the binary; left out, the debug build is used, and built if it is not there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/python/environment.sh

choose_binary
choose_python "duckdb, polars, pyarrow" python_export tests/python/requirements_export.txt
PYTHONDONTWRITEBYTECODE=1 exec "$python" tests/python/test_export.py "$@"
