# Sourced by `run` and `test`: set PYTHON to the first Python that can make the environment, or say what is missing.
# A PYTHON that the user has set is the only one looked at. Without one, that of the environment `made` goes before all:
# another PATH, as cron's, may lead to another Python, and what runs from an environment must keep it.

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
complete() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

choose_python() {
    if [ -z "${PYTHON:-}" ] && [ -n "${made:-}" ] && complete "$made"; then
        PYTHON=$made
        return
    fi
    incomplete=
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        usable "$candidate" || continue
        if complete "$candidate"; then
            PYTHON=$candidate
            return
        fi
        incomplete=${incomplete:-$candidate}
    done
    if [ -n "$incomplete" ]; then
        echo "$incomplete cannot make an environment: install its venv module (Debian, Ubuntu: apt install python3-venv)." >&2
    else
        echo "Evergrant needs Python 3.11 or newer, and there is none here: install it, or set PYTHON to it." >&2
    fi
    exit 1
}

choose_python
