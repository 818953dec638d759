#!/bin/sh
# Prints the folder of Apicurio Registry, fetched by Maven where it is missing (142 MB, once):
# K2_TEST_REGISTRY_APP, or a folder of the version in ~/.cache/k2/registry.
exec "$(dirname "$0")/../fetch.sh" registry "${K2_TEST_REGISTRY_APP:-}" folder
