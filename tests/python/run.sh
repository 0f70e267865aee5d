#!/usr/bin/env bash
# Tests a running server from Python, over stubs generated from proto/ on the spot. Arguments go to unittest.
#
# AUGUR_BIN names the server's binary; left out, the debug build is used, and built if it is not there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/python/environment.sh

choose_binary
choose_python "grpc, grpc_reflection, grpc_status, grpc_tools" python tests/python/requirements.txt
PYTHONDONTWRITEBYTECODE=1 exec "$python" tests/python/test_client.py "$@"
