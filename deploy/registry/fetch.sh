#!/bin/sh
# Prints the folder of Apicurio Registry, fetched by Maven where it is missing (142 MB, once):
# K2_TEST_REGISTRY_APP, or a folder of the version in ~/.cache/k2/registry.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n '/<artifactId>registry<\/artifactId>/{n;s/.*<version>\(.*\)<\/version>.*/\1/p;}' "$here/pom.xml")
app=${K2_TEST_REGISTRY_APP:-${XDG_CACHE_HOME:-$HOME/.cache}/k2/registry/$version}

if [ ! -e "$app" ]; then
    command -v mvn >/dev/null || { echo "Maven (mvn) is not installed" >&2; exit 1; }
    mkdir -p "$(dirname "$app")"
    draft=$(mktemp -d "$app.XXXXXX")
    trap 'rm -rf "$draft"' EXIT
    mvn -B -q -f "$here/pom.xml" package -Dfolder="$draft" >&2
    # Another run may have been faster; its folder is as good.
    mv -T "$draft" "$app" 2>/dev/null || [ -e "$app" ]
fi
echo "$app"
