#!/bin/sh
# fetch.sh [PYTHON]: prints the folder of the jars that Spark needs, fetched by `k2 spark jars` where
# they are missing (129 MB, once): K2_TEST_SPARK_JARS, or one in ~/.cache/k2/spark by their checksums.
set -eu
python=${1:-python3}
cd "$(dirname "$0")/../.."
known=$(cksum <k2_lake/spark/jars.lock | tr ' ' -)
folder=${K2_TEST_SPARK_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/k2/spark/$known}
"$python" -c 'from k2_cli.main import run; run()' spark jars --to "$folder" >&2
echo "$folder"
