#!/bin/sh
# Makes the virtual environment $1 with a Python that K2 runs on, unless a working one is there.
# A name on PATH proves nothing (a pyenv shim may refuse to run), so each candidate is tried.
set -eu

target=$1
wanted='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'

suits() { "$1" -c "$wanted" </dev/null >/dev/null 2>&1; }

if suits "$target/bin/python" && "$target/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi

chosen=
for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
    if suits "$candidate"; then
        chosen=$candidate
        break
    fi
done
if [ -z "$chosen" ]; then
    echo "K2 needs Python 3.11, 3.12 or 3.13; tried ${PYTHON:-python3.13, python3.12, python3.11 and python3}." \
        "Install one, or name it: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi
if ! "$chosen" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    version=$("$chosen" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$chosen cannot make a virtual environment. On Debian or Ubuntu: apt-get install python$version-venv" >&2
    exit 1
fi
echo "making $target with $("$chosen" --version)"
"$chosen" -m venv --clear "$target"
