"""The jars that Spark needs for K2's tables, Kafka and PostgreSQL: pinned, and how to get them.

``jars.lock`` names each with its SHA-512: all that pyspark does not bring itself. Maven fetches
them from where its own settings say; no host is named here.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from k2_market.errors import EngineUnavailable

COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
TIMEOUT_S = 600


@dataclass(frozen=True)
class Jar:
    """A jar as Maven knows it, ``group:artifact:version``, and the SHA-512 of its bytes."""

    coordinates: str
    sha512: str

    @property
    def file(self) -> str:
        """The name of the file."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"

    def require_right(self, path: Path) -> None:
        """Raises EngineUnavailable where the bytes of ``path`` are not those that were pinned."""
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha512").hexdigest()
        if found != self.sha512:
            raise EngineUnavailable(
                f"{path} is not the {self.coordinates} that K2 knows: its SHA-512 is "
                f"{found[:16]}... instead of {self.sha512[:16]}... Remove it, and find out why the "
                "registry that Maven uses has other bytes."
            )


# spark-token-provider is of a preview: not all registries have it of 4.1.3. What K2 uses of it, the
# settings of a consumer, runs on 4.1; delegation tokens (Kerberos) do not.
@cache
def pinned() -> tuple[Jar, ...]:
    """All that are needed."""
    text = files("k2_lake.spark").joinpath("jars.lock").read_text(encoding="utf-8")
    return tuple(Jar(*line.split()) for line in text.splitlines())


def in_folder(folder: Path) -> list[Path]:
    """The pinned jars in ``folder``. Raises EngineUnavailable, naming those that are missing."""
    missing = [jar.file for jar in pinned() if not (folder / jar.file).is_file()]
    if missing:
        raise EngineUnavailable(
            f"K2_SPARK_JARS is {folder}, which lacks {', '.join(missing)}. "
            f"Fetch them: k2 spark jars --to {folder}"
        )
    return [folder / jar.file for jar in pinned()]


def fetch(jar: Jar, folder: Path) -> bool:
    """Bring one jar into ``folder``; False if it was there already, and was only looked at.

    Raises EngineUnavailable where Maven is not there or cannot get it, and where its bytes are not
    those that were pinned: then it does not enter the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / jar.file
    if place.exists():
        jar.require_right(place)
        return False
    _fetch(jar, place)
    return True


def _fetch(jar: Jar, place: Path) -> None:
    if shutil.which("mvn") is None:
        raise EngineUnavailable(
            f"Maven (mvn), which fetches {jar.coordinates}, is not installed. Install it, or copy "
            f"{place} from a machine that has it."
        )
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetching-") as draft:
        _maven(jar, draft)
        fetched = Path(draft) / jar.file
        jar.require_right(fetched)
        fetched.replace(place)


def _maven(jar: Jar, folder: str) -> None:
    wanted = (f"-Dartifact={jar.coordinates}", f"-DoutputDirectory={folder}")
    try:
        done = subprocess.run(
            ["mvn", "-B", "-q", COPY, *wanted],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineUnavailable(
            f"Maven did not bring {jar.coordinates} within {TIMEOUT_S} s. Is its registry "
            "reachable? Run again: what is there already stays."
        ) from error
    if done.returncode != 0 or not (Path(folder) / jar.file).is_file():
        said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        raise EngineUnavailable(
            f"Maven cannot bring {jar.coordinates}: {said[0][:400]}. Its settings "
            "(~/.m2/settings.xml) say where it looks."
        )
