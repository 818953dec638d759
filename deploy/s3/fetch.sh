#!/bin/sh
# Prints the folder of S3Proxy and all it needs, fetched by Maven where it is missing (54 MB, once):
# K2_TEST_S3_JARS, or a folder of the version in ~/.cache/k2/s3.
exec "$(dirname "$0")/../fetch.sh" s3 "${K2_TEST_S3_JARS:-}" outputDirectory
