"""Connections of uvicorn that are closed where a request's headers do not come in time."""

from typing import Any

from multilayer.errors import extra


def protocol(headers_s: float) -> type[Any]:
    """Uvicorn's HTTP protocol, with httptools where that is installed, that waits so long for headers.

    uvicorn itself waits for ever: whoever opens connections and sends a letter now and then keeps them all.
    """
    base: Any = extra(
        "uvicorn.protocols.http.auto", needed_by="multilayer serve", install="'multilayer[serve]'"
    ).AutoHTTPProtocol

    class Impatient(base):
        """The protocol with a clock that runs while no request is being answered and part of one has come."""

        _clock: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._start()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._clock is None and self.timeout_keep_alive_task is None:
                self._start()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _start(self) -> None:
            self._clock = self.loop.call_later(headers_s, self._end)

        def _stop(self) -> None:
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

        def _end(self) -> None:
            self._clock = None
            idle = self.cycle is None or self.cycle.response_complete
            if idle and not self.transport.is_closing():
                self.transport.close()

    return Impatient
