"""Containers and tests run the same Kafka."""

from __future__ import annotations

import re

import yaml

from tests.needs import CHECKOUT


def test_the_artifacts_are_of_the_version_that_compose_runs() -> None:
    compose = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    pom = (CHECKOUT / "deploy/kafka/pom.xml").read_text()
    (version,) = re.findall(r"<artifactId>kafka</artifactId>\s*<version>(.*)</version>", pom)
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{version}"
