#!/usr/bin/env bash
# Make .venv with the Python that fits, or keep the one that is there and works.
# The Makefile calls this; PYTHON, if set, names the interpreter to use.
set -euo pipefail
cd "$(dirname "$0")/.."

# The pinned packages have wheels for these versions.
fits='import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))'

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

# Print the first interpreter that fits; prefer one that can make virtual environments.
find_python() {
  local candidate fallback=""
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$candidate" -c "$fits" >/dev/null 2>&1; then
      if can_make_venv "$candidate"; then
        echo "$candidate"
        return
      fi
      fallback=${fallback:-$candidate}
    fi
  done
  echo "$fallback"
}

can_make_venv() {
  "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

version_of() {
  "$1" -c 'import sys; print("{}.{}".format(*sys.version_info))' 2>/dev/null || echo "not found"
}

if grep -sqF "$(pwd -P)/.venv" .venv/bin/activate &&
  .venv/bin/python -c "$fits" 2>/dev/null &&
  .venv/bin/python -m pip --version >/dev/null 2>&1; then
  exit 0
fi

python=$(find_python)
if [ -z "$python" ]; then
  fail "convtrace needs Python 3.11, 3.12, 3.13 or 3.14." \
    "  ${PYTHON:-python3}: $(version_of "${PYTHON:-python3}")" \
    "  Install one, e.g. 'sudo apt install python3 python3-venv' on Debian 12 or Ubuntu 24.04," \
    "  or name one: make install PYTHON=/path/to/python3.12"
fi

if ! can_make_venv "$python"; then
  package="python$(version_of "$python")-venv"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $package, which Python needs to make .venv."
    export DEBIAN_FRONTEND=noninteractive
    install=(apt-get install -qq -y --no-install-recommends "$package")
    # The list of packages may be missing or old; then it is fetched.
    "${install[@]}" >/dev/null 2>&1 || { apt-get update -qq && "${install[@]}"; } >/dev/null || true
  fi
  can_make_venv "$python" || fail "$python cannot make virtual environments." \
    "  On Debian and Ubuntu: sudo apt install $package" \
    "  Then run make again."
fi

"$python" -m venv --clear .venv
