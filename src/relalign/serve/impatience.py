"""A connection on which no whole request comes is closed: each holds one of the few places that there are."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

SECONDS = 15.0


class Impatient(H11Protocol):
    """uvicorn's protocol, which by itself waits for ever for the rest of a header."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        self._watched = self.loop.call_later(SECONDS, self._watch, None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no longer."""
        self._watched.cancel()
        super().connection_lost(exc)

    def _watch(self, seen: RequestResponseCycle | None) -> None:
        """Close it if no request has begun since the last one that was `seen`, and that one is answered."""
        if self.cycle is seen and (seen is None or seen.response_complete):
            self.transport.close()
        else:
            self._watched = self.loop.call_later(SECONDS, self._watch, self.cycle)
