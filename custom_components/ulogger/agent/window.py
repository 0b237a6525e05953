"""How many requests may be in flight, and how long each may take."""

from typing import Final

FIRST_TIMEOUT: Final = 0.5
"""Seconds to wait for an answer before any round trip was measured."""
LONGEST_TIMEOUT: Final = 2.0
SHORTEST_MARGIN: Final = 0.02
MOST_REQUESTS: Final = 64
QUEUE_BYTES: Final = 2048
"""What we let a device have queued: stacks have some 3 KB for notifications."""
PACKET_OVERHEAD: Final = 11
"""Bytes around a chunk's payload in that queue: chunk header, ATT, L2CAP."""


class SendWindow:
    """Window and deadline, from measured round trips (as TCP does it, RFC 6298 and 5681).

    The window starts at 1, grows by one for every answer in order while round trips stay
    near the shortest one seen (longer ones mean that the device's queue fills up), and
    halves on loss, once per window. Times are in seconds.
    """

    __slots__ = ("_fastest", "_most", "_recovered", "_smooth", "_spread", "timeout", "window")

    def __init__(self) -> None:
        self.window = 1
        self.timeout = FIRST_TIMEOUT
        self._most = MOST_REQUESTS
        self._recovered = 0
        self._fastest = float("inf")
        self._smooth = 0.0
        self._spread = 0.0

    def restart(self) -> None:
        """Begin again with one request, keeping what is known about the round trip."""
        self.window = 1
        self._recovered = 0

    def fit(self, payload: int) -> None:
        """Keep the answers to one window of such chunks within the device's queue."""
        self._most = max(4, min(MOST_REQUESTS, QUEUE_BYTES // (payload + PACKET_OVERHEAD)))

    def measured(self, round_trip: float) -> None:
        """Take the round trip of a request that was written once."""
        if not self._smooth:
            self._smooth, self._spread = round_trip, round_trip / 2
        else:
            self._spread += (abs(round_trip - self._smooth) - self._spread) / 4
            self._smooth += (round_trip - self._smooth) / 8
        self._fastest = min(self._fastest, round_trip)
        margin = max(4 * self._spread, self._smooth / 2, SHORTEST_MARGIN)
        self.timeout = min(self._smooth + margin, LONGEST_TIMEOUT)

    def answered_in_order(self) -> None:
        """Open the window, unless the device's queue is what the requests wait in."""
        if self.window < self._most and self._smooth <= 1.5 * self._fastest + 0.01:
            self.window += 1

    def lost(self, order: int, newest: int) -> None:
        """Close the window for the loss of request number ``order``, ``newest`` being the last."""
        if order >= self._recovered:
            self.window = max(1, self.window // 2)
            self._recovered = newest + 1
