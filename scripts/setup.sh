#!/usr/bin/env bash
# Installs what a bare Debian machine with rustup, gcc and git lacks, and nothing that is there already.
#
#   scripts/setup.sh        to build, run and test: a C++ compiler and libclang (RocksDB and its bindings)
#   scripts/setup.sh --ci   for .ci/run as well: Node.js (buf) and Python with venv (foreign client)
set -euo pipefail

missing=()
# The C++ compiler builds RocksDB itself.
command -v c++ >/dev/null || missing+=(g++)
# libclang and its own C headers generate RocksDB's bindings while it is built.
compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || [[ -n "${LIBCLANG_PATH:-}" ]] || missing+=(libclang1)
compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null \
    || compgen -G '/usr/lib/clang/*/include/stddef.h' >/dev/null || missing+=(libclang-common)
if [[ "${1:-}" == --ci ]]; then
    command -v npm >/dev/null || missing+=(nodejs npm)
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
fi
if ! command -v cargo >/dev/null; then
    echo "setup: cargo is not on the PATH; install rustup (the toolchain is in rust-toolchain.toml), or source ~/.cargo/env" >&2
    exit 1
fi
[[ ${#missing[@]} -eq 0 ]] && exit 0

# Debian names libclang by version: 14 where there is one (Debian 12), else the newest.
packages() {
    local version
    version=$(apt-cache pkgnames libclang1- | sed -n 's/^libclang1-\([0-9]*\)$/\1/p' | sort -n \
        | awk '$1 == 14 { fourteen = 1 } { newest = $1 } END { print fourteen ? 14 : newest }')
    local package
    for package in "${missing[@]}"; do
        case $package in
            libclang1) echo "libclang1-$version" ;;
            libclang-common) echo "libclang-common-$version-dev" ;;
            *) echo "$package" ;;
        esac
    done
}

as_root=()
if [[ $(id -u) -ne 0 ]]; then
    if command -v sudo >/dev/null; then as_root=(sudo); else as_root=(false); fi
fi
if ! command -v apt-get >/dev/null || [[ "${as_root[*]}" == false ]]; then
    {
        echo "setup: missing here: ${missing[*]}"
        echo "setup: neither root nor sudo with apt-get; have someone install them. On Debian 12:"
        echo "setup:   apt-get install g++ libclang1-14 libclang-common-14-dev   (.ci/run: nodejs npm python3 python3-venv too)"
    } >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
mapfile -t wanted < <(packages)
echo "setup: installing ${wanted[*]}"
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
