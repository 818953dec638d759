"""Containers and tests run the same Kafka and the same Schema Registry."""

from __future__ import annotations

import re

import yaml

from tests.needs import CHECKOUT


def test_the_artifacts_are_of_the_version_that_compose_runs() -> None:
    compose = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    images = {"kafka": "apache/kafka", "registry": "apicurio/apicurio-registry-kafkasql"}
    for name, image in images.items():
        pom = (CHECKOUT / f"deploy/{name}/pom.xml").read_text()
        (version,) = re.findall(rf"<artifactId>{name}</artifactId>\s*<version>(.*)</version>", pom)
        assert compose["services"][name]["image"] == f"{image}:{version}"
