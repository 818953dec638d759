"""The jars come from where Maven's settings say, and only with the bytes that were pinned."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from k2_cli.main import app
from k2_lake.spark import jars
from k2_lake.spark.jars import Jar, fetch, in_folder, pinned
from k2_market.errors import EngineUnavailable

CONTENT = "the bytes of a jar"
JAR = Jar("org.example:thing:1.2", hashlib.sha512(CONTENT.encode()).hexdigest())


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry's stand-in on PATH: it answers with the bytes of a file, if there is one."""
    folder = tmp_path / "maven"
    folder.mkdir()
    program = folder / "mvn"
    program.write_text(
        "#!/bin/sh\n"
        'echo "$@" >>$(dirname $0)/asked\n'
        "for a; do case $a in -DoutputDirectory=*) to=${a#*=};; esac; done\n"
        "cp $(dirname $0)/served $to/thing-1.2.jar 2>/dev/null ||"
        " { echo '[ERROR] Could not find artifact'; exit 1; }\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_a_jar_is_fetched_once_and_looked_at_afterwards(tmp_path: Path, maven: Path) -> None:
    (maven / "served").write_text(CONTENT)
    place = tmp_path / "jars"
    assert fetch(JAR, place)
    assert (place / JAR.file).read_text() == CONTENT
    assert [p.name for p in place.iterdir()] == [JAR.file]
    assert not fetch(JAR, place)
    assert (maven / "asked").read_text().count("-Dartifact=org.example:thing:1.2") == 1


def test_other_bytes_do_not_enter_the_folder(tmp_path: Path, maven: Path) -> None:
    (maven / "served").write_text("other bytes")
    place = tmp_path / "jars"
    with pytest.raises(EngineUnavailable, match=r"SHA-512 is [0-9a-f]{16}\.\.\. instead of"):
        fetch(JAR, place)
    assert list(place.iterdir()) == []
    (place / JAR.file).write_text("other bytes")
    with pytest.raises(EngineUnavailable, match=f"{JAR.file} is not the org.example:thing:1.2"):
        fetch(JAR, place)


def test_what_maven_says_is_passed_on(tmp_path: Path, maven: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"thing:1\.2.*Could not find artifact.*settings"):
        fetch(JAR, tmp_path / "jars")


def test_without_maven_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match=r"Maven \(mvn\).*is not installed"):
        fetch(JAR, tmp_path)


def test_the_command_fills_a_folder_and_says_how_to_use_it(
    tmp_path: Path, maven: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (maven / "served").write_text(CONTENT)
    monkeypatch.setattr(jars, "pinned", lambda: (JAR,))
    place = tmp_path / "jars"
    done = CliRunner().invoke(app, ["spark", "jars", "--to", str(place)], catch_exceptions=False)
    assert "1 jars" in done.stdout
    assert f"export K2_SPARK_JARS={place} K2_ENGINE=spark" in done.stdout
    assert in_folder(place) == [place / JAR.file]


def test_every_pin_has_a_version_and_a_checksum_and_all_of_spark_are_for_4_1() -> None:
    assert all(len(jar.sha512) == 128 and jar.coordinates.count(":") == 2 for jar in pinned())
    assert len({jar.file for jar in pinned()}) == len(pinned())
    of_spark = [j.file for j in pinned() if "spark" in j.file]
    assert all("-4.1_" in name or "-4.1." in name for name in of_spark), of_spark
