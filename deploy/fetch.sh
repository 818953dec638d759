#!/bin/sh
# fetch.sh NAME GIVEN PROPERTY: prints the folder of the artifacts that deploy/NAME/pom.xml names:
# GIVEN, if it is not empty, or that of their version in ~/.cache/k2/NAME, filled by Maven where it
# is missing; the pom knows the folder to fill as PROPERTY.
set -eu
name=$1 given=$2 property=$3
pom=$(cd "$(dirname "$0")" && pwd)/$name/pom.xml
version=$(sed -n "/<artifactId>$name<\\/artifactId>/{n;s/.*<version>\\(.*\\)<\\/version>.*/\\1/p;}" "$pom")
folder=${given:-${XDG_CACHE_HOME:-$HOME/.cache}/k2/$name/$version}

if [ ! -e "$folder" ]; then
    command -v mvn >/dev/null || { echo "Maven (mvn) is not installed" >&2; exit 1; }
    mkdir -p "$(dirname "$folder")"
    draft=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$draft"' EXIT
    mvn -B -q -f "$pom" package -D"$property"="$draft" >&2
    # Another run may have been faster; its folder is as good.
    mv -T "$draft" "$folder" 2>/dev/null || [ -e "$folder" ]
fi
echo "$folder"
