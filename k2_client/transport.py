"""Requests over HTTP: tried again where that may help, refusals as typed errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TypeVar

import httpx2

from k2_client.access import Access
from k2_client.patience import Patience
from k2_client.problems import BadAnswer, NoAnswer, of_response

CONNECT_TIMEOUT_S = 5.0

T = TypeVar("T")


class Http:
    """Asks one API; safe to use from several threads. ``timeout_s`` is for each read."""

    def __init__(
        self,
        access: Access,
        *,
        timeout_s: float,
        patience: Patience,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.access, self.patience = access, patience
        self._retrying = patience.retrying(sleep)
        self._client = httpx2.Client(
            base_url=access.address,
            headers=access.headers,
            timeout=httpx2.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            trust_env=not access.is_here,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, params: Mapping[str, str]) -> bytes:
        """The body of the answer to a GET. Raises ClientError."""
        return self.read(path, params, b"".join)

    def post(self, path: str, body: bytes) -> bytes:
        """The body of the answer to a POST of JSON that changes nothing. Raises ClientError."""
        headers = {"Content-Type": "application/json"}
        request = self._client.build_request("POST", path, content=body, headers=headers)
        return self._retried(lambda: self._taken(request, b"".join))

    def read(self, path: str, params: Mapping[str, str], take: Callable[[Iterator[bytes]], T]) -> T:
        """What ``take`` makes of the answer to a GET. Raises ClientError.

        One that breaks off is asked for again, and taken anew.
        """
        request = self._get(path, params)
        return self._retried(lambda: self._taken(request, take))

    @contextmanager
    def stream(self, path: str, params: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        """The body of the answer to a GET as it comes.

        It is asked again until the answer begins; one that breaks off later raises NoAnswer.
        """
        request = self._get(path, params)
        response = self._retried(lambda: self._opened(request))
        with closing(response):
            yield self._chunks(response)

    def _retried(self, ask: Callable[[], T]) -> T:
        answer: T = self._retrying(ask)
        return answer

    def _get(self, path: str, params: Mapping[str, str]) -> httpx2.Request:
        return self._client.build_request("GET", path, params=dict(params))

    def _taken(self, request: httpx2.Request, take: Callable[[Iterator[bytes]], T]) -> T:
        with closing(self._opened(request)) as response:
            return take(self._chunks(response))

    def _opened(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, if it is none of an error, with its body still to come."""
        with self._named(request):
            response = self._client.send(request, stream=True)
            if response.is_success:
                return response
            with closing(response):
                response.read()
        if response.is_redirect:
            to = response.headers.get("Location", "elsewhere")
            raise BadAnswer(
                f"{self.access.address} sends on to {to!r}. Give the API's own address."
            )
        raise of_response(response)

    def _chunks(self, response: httpx2.Response) -> Iterator[bytes]:
        with self._named(response.request):
            yield from response.iter_bytes()

    @contextmanager
    def _named(self, request: httpx2.Request) -> Iterator[None]:
        """What the network does, in the client's words."""
        asked = f"{request.method} {self.access.address}{request.url.path}"
        try:
            yield
        except httpx2.TransportError as error:
            raise NoAnswer(
                f"{asked} was not answered to its end: {str(error) or type(error).__name__}. Does "
                "the API run there? `k2 api` serves one."
            ) from error
        except httpx2.RequestError as error:
            raise BadAnswer(f"{asked}: {error}. Is this K2's API?") from error
