#!/usr/bin/env bash
# Opens an export of the decision log with pyarrow, DuckDB and polars. Arguments go to unittest.
#
# AUGUR_BIN names the binary; left out, the debug build is used, and built if it is not there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ -z "${AUGUR_BIN:-}" ]]; then
    AUGUR_BIN=target/debug/augur
    [[ -x $AUGUR_BIN ]] || cargo build --locked --bin augur
fi
export AUGUR_BIN

python=python3
if ! "$python" -c 'import duckdb, polars, pyarrow' 2>/dev/null; then
    environment=target/tools/python_export
    python=$environment/bin/python
    # Remembers what was installed, so that a change of a version installs again.
    if ! cmp -s tests/python/requirements_export.txt "$environment/requirements.txt"; then
        python3 -m venv --clear "$environment"
        "$python" -m pip install --quiet --disable-pip-version-check -r tests/python/requirements_export.txt
        cp tests/python/requirements_export.txt "$environment/requirements.txt"
    fi
fi
PYTHONDONTWRITEBYTECODE=1 exec "$python" tests/python/test_export.py "$@"
