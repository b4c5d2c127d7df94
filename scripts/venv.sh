# shellcheck shell=bash
# Makes and keeps the project's .venv. Sourced by the scripts beside it, in the project's root.

venv="$PWD/.venv"

# Print every Python on PATH, the usual name first.
pythons_on_path() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        type -ap "$name" || true
    done
}

# Say whether a Python starts, is new enough, and is not the one about to be replaced.
is_suitable() {
    "$1" - "$venv" 2>/dev/null <<'PY'
import os, sys
inside_venv = os.path.realpath(sys.prefix) == os.path.realpath(sys.argv[1])
sys.exit(sys.version_info < (3, 11) or inside_venv)
PY
}

# Print the first suitable Python, or fail with a sentence that says what is missing.
find_python() {
    local python
    while IFS= read -r python; do
        if is_suitable "$python"; then
            printf '%s\n' "$python"
            return
        fi
    done < <(pythons_on_path)
    echo "skiff needs Python 3.11 or newer, and none was found on PATH." >&2
    return 1
}

# Print what an install depends on; fail if the .venv is missing, broken or too old.
#
# A folder that was moved or copied counts as broken: installed commands name their old place.
venv_key() {
    "$venv/bin/python" - "$venv" 2>/dev/null <<'PY'
import hashlib, importlib.util, os, pathlib, sys
venv = pathlib.Path(sys.argv[1])
home = venv / ".skiff-home"
moved = home.exists() and home.read_text().strip() != str(venv)
if moved or sys.version_info < (3, 11) or importlib.util.find_spec("pip") is None:
    sys.exit(1)
print(hashlib.sha256(pathlib.Path("pyproject.toml").read_bytes()).hexdigest())
print(os.path.realpath(sys.executable), sys.version.split()[0])
PY
}

make_venv() {
    local python
    python="$(find_python)" || return
    echo "Making .venv with $python" >&2
    rm -rf "$venv"
    if ! "$python" -m venv "$venv" >&2; then
        rm -rf "$venv"
        echo "$python cannot make a virtual environment (on Debian: install python3-venv)." >&2
        return 1
    fi
}

# Install with uv if it is available and succeeds, with pip otherwise.
install_project() {
    echo "Installing $1 into .venv" >&2
    if command -v uv >/dev/null &&
        uv pip install --quiet --python "$venv/bin/python" --editable "$1" 2>/dev/null; then
        return
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$1" >&2 || {
        echo "The install failed, see above. Running the same command again goes on from here." >&2
        return 1
    }
}

# Bring .venv to hold the project: `ensure_venv plain` to run it, `ensure_venv dev` to check it.
#
# A stamp in .venv remembers what was installed; the dev install contains the plain one.
ensure_venv() {
    local kind="$1" key stamp
    if ! key="$(venv_key)"; then
        make_venv && key="$(venv_key)" || return
    fi
    for stamp in dev "$kind"; do
        if [ "$(cat "$venv/.skiff-$stamp" 2>/dev/null)" = "$key" ]; then
            return
        fi
    done
    case "$kind" in
        dev) install_project '.[dev]' || return ;;
        *) install_project . || return ;;
    esac
    printf '%s\n' "$venv" >"$venv/.skiff-home"
    printf '%s\n' "$key" >"$venv/.skiff-$kind"
}
