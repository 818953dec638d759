#!/bin/sh
# fetch.sh [PYTHON]: puts the chart library of the page, and its licence, where the page is served
# from. pip alone fetches it, a wheel of 96 kB whose hash it checks; nothing of it is installed.
set -eu
python=${1:-python3}
here=$(cd "$(dirname "$0")" && pwd)
target=$here/../../k2_api/page/static/vendor

draft=$(mktemp -d)
trap 'rm -rf "$draft"' EXIT
"$python" -m pip --disable-pip-version-check --no-input -q download --no-deps --only-binary :all: \
    --require-hashes -r "$here/requirements.txt" -d "$draft"
"$python" -m zipfile -e "$draft"/lightweight_charts-*.whl "$draft"
library=$draft/lightweight_charts/js/lightweight-charts.js
head -n 6 "$library" | grep -q 'Apache License 2.0' || {
    echo "$library does not begin with the notice of its licence" >&2
    exit 1
}

mkdir -p "$target"
{ head -n 6 "$library"; cat "$here/../../LICENSE"; } >"$target/LICENSE"
# Last, and in one step: whoever finds it finds the whole of it.
cp "$library" "$target/.draft.$$"
mv "$target/.draft.$$" "$target/lightweight-charts.js"
