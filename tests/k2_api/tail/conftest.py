from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.k2_api.tail.fed import Fed, fed


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Fed]:
    with fed(tmp_path) as running:
        yield running
