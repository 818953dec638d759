"""Whom to trust when connecting to an exchange: the system's authorities, and one's own."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from k2_market.errors import UsageError

CA_FILE = "K2_CA_FILE"


def from_environment(env: Mapping[str, str]) -> ssl.SSLContext:
    """What certificates are verified with; host names always are.

    ``K2_CA_FILE`` is a PEM file of certificates that are trusted beside the system's. Raises
    UsageError if it cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    path = env.get(CA_FILE, "").strip()
    if not path:
        return context
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise UsageError(
            f"{CA_FILE}: {path!r} holds no certificate in PEM form. It should begin with "
            "-----BEGIN CERTIFICATE-----; `openssl x509 -inform der` converts others."
        ) from None
    except OSError as error:
        raise UsageError(
            f"{CA_FILE}: {path!r} cannot be read: {error.strerror}. Name a PEM file of the "
            "certificates to trust, or unset it."
        ) from None
    return context
