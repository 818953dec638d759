#!/bin/sh
# Prints the folder of S3Proxy and all it needs, fetched by Maven where it is missing (54 MB, once):
# K2_TEST_S3_JARS, or a folder of the version in ~/.cache/k2/s3.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n '/<artifactId>s3<\/artifactId>/{n;s/.*<version>\(.*\)<\/version>.*/\1/p;}' "$here/pom.xml")
jars=${K2_TEST_S3_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/k2/s3/$version}

if [ ! -e "$jars" ]; then
    command -v mvn >/dev/null || { echo "Maven (mvn) is not installed" >&2; exit 1; }
    mkdir -p "$(dirname "$jars")"
    draft=$(mktemp -d "$jars.XXXXXX")
    trap 'rm -rf "$draft"' EXIT
    mvn -B -q -f "$here/pom.xml" package -DoutputDirectory="$draft" >&2
    # Another run may have been faster; its folder is as good.
    mv -T "$draft" "$jars" 2>/dev/null || [ -e "$jars" ]
fi
echo "$jars"
