# Sourced by the scripts beside it: which binary is tested, and which Python has the packages for it.
#
#   choose_binary                          sets AUGUR_BIN, unless it names one, to the debug build; built if it is not there
#   choose_python MODULES NAME PACKAGES    sets python to one with these modules: the system's, or an environment called NAME
#                                          with the packages of the file PACKAGES

choose_binary() {
    if [[ -z "${AUGUR_BIN:-}" ]]; then
        AUGUR_BIN=target/debug/augur
        [[ -x $AUGUR_BIN ]] || cargo build --locked --bin augur
    fi
    export AUGUR_BIN
}

choose_python() {
    local modules=$1 environment=target/tools/$2 packages=$3
    python=python3
    "$python" -c "import $modules" 2>/dev/null && return
    python=$environment/bin/python
    # Remembers what was installed, so that a change of a version installs again.
    if ! cmp -s "$packages" "$environment/requirements.txt"; then
        python3 -m venv --clear "$environment"
        "$python" -m pip install --quiet --disable-pip-version-check -r "$packages"
        cp "$packages" "$environment/requirements.txt"
    fi
}
