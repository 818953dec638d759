#!/bin/sh
# Prints the folder of Apache Kafka's server and all it needs, fetched by Maven where it is missing
# (45 MB, once): K2_TEST_KAFKA_JARS, or a folder of the version in ~/.cache/k2/kafka.
exec "$(dirname "$0")/../fetch.sh" kafka "${K2_TEST_KAFKA_JARS:-}" outputDirectory
