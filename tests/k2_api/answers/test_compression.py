from __future__ import annotations

import gzip
import random
from collections.abc import Iterator

import pytest
import zstandard

from k2_api.answers.compression import compressed, compressing

PIECES = [b"first " * 1000, memoryview(b"second " * 1000), b"third"]
WHOLE = b"".join(PIECES)


def undone(body: bytes, coding: str) -> bytes:
    if coding == "gzip":
        return gzip.decompress(body)
    return zstandard.ZstdDecompressor().decompressobj().decompress(body)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_what_was_compressed_is_read_back(coding: str) -> None:
    for body in (compressed(WHOLE, coding), b"".join(compressing(PIECES, coding))):
        assert undone(body, coding) == WHOLE
        assert len(body) < len(WHOLE) / 20


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_stream_that_broke_off_is_seen_to_be_cut(coding: str) -> None:
    def breaking() -> Iterator[bytes]:
        yield random.Random(7).randbytes(1_000_000)
        raise OSError("gone")

    sent: list[bytes] = []
    with pytest.raises(OSError, match="gone"):
        sent.extend(compressing(breaking(), coding))
    cut = b"".join(sent)
    assert len(cut) > 100_000
    if coding == "gzip":
        with pytest.raises(EOFError):
            gzip.decompress(cut)
    else:
        reader = zstandard.ZstdDecompressor().decompressobj()
        reader.decompress(cut)
        assert not reader.eof
