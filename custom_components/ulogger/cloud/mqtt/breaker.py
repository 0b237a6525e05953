"""Finds out what a broker closes the connection on, and keeps it from doing that too often.

A broker with a policy (AWS IoT) does not answer what it denies: it closes the connection, and
everything that is in flight with it fails. States and rules:

* *In company*: the connection was closed with several messages in flight. Each of them is a
  suspect from then on and goes alone, and so does what else comes on its topic until one passed.
* *Alone*: a suspect in flight with nothing else beside it when the connection is closed gets a
  strike, but only on a connection that has proved itself: another message was acknowledged on
  it, or it stood quietly for a while. Another client with our id closes connections that
  nothing passes on, whatever is in flight; it strikes nobody. What was in flight then, and what
  has struck, waits for a connection that has proved itself; so do topics nothing ever passed on
  beside those that are known to be good.
* *A topic* that nothing passed on since its strike waits, each time for longer, and is denied
  from its third strike on. As long as one message alone has struck, another one may try.
* *A message* whose topic lets others pass in between has its strikes to itself, waits on its
  own, and is refused from its third strike on.
* An acknowledgement clears the message and its topic.

Nothing here sends, waits or knows of MQTT.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from ...model.backoff import Backoff, never
from ..errors import CloudError, HeldBack, MessageRefused, TopicDenied
from .rate_limit import Clock

STRIKES = 3
"""Strikes that make a topic a denied one, or a message a refused one."""
HOLD = Backoff(5.0, 3600.0, never)
"""How long what struck is held back."""
REFUSED_FOR = 3600.0
"""Seconds for which a refused message is not sent at all."""
REFUSED = "the broker closes the connection on this message each time"
REFUSED_WITHIN = 5.0
"""Seconds after a message was sent in which a closed connection makes it a suspect."""
QUIET = 10.0
"""Seconds that a connection stands without anything in flight to prove itself."""
MOST_SUSPECTS = 1_000


@dataclass(slots=True)
class _Topic:
    """A topic that nothing has passed on since it closed a connection."""

    striker: bytes | None
    """The one message that has struck; None when there were several."""
    strikes: int = 0
    until: float = 0.0

    @property
    def denied(self) -> bool:
        return self.strikes >= STRIKES


@dataclass(slots=True)
class _Suspect:
    """A message that was in flight when the connection was closed."""

    topic: str
    open: int = 0
    """Strikes that may be its topic's: nothing else has passed on it since."""
    own: int = 0
    until: float = 0.0
    doubtful: bool = False
    """Whether it was alone on a connection that was closed before it had proved itself."""

    @property
    def refused(self) -> bool:
        return self.own >= STRIKES


class Breaker:
    """What one connection's broker denies. ``on_denied`` is called when that changes."""

    def __init__(self, clock: Clock) -> None:
        self.on_denied: Callable[[], None] = lambda: None
        self._clock = clock
        self._topics: dict[str, _Topic] = {}
        self._suspects: dict[bytes, _Suspect] = {}
        self._proved = False
        self._good: set[str] = set()
        self._watched: set[str] = set()
        self._opened_at = 0.0

    @property
    def denied(self) -> list[str]:
        """The topics that the broker denies."""
        return [name for name, topic in self._topics.items() if topic.denied]

    @property
    def suspicious(self) -> bool:
        """Whether anything is suspected."""
        return bool(self._suspects or self._topics or self._watched)

    def forgive(self) -> None:
        """Forget every suspicion: somebody has changed the policy, and wants to see."""
        had = self.denied
        self._topics.clear()
        self._suspects.clear()
        self._watched.clear()
        if had:
            self.on_denied()

    def opened(self) -> None:
        """Note that there is a new connection, which has proved nothing yet."""
        self._proved = False
        self._opened_at = self._clock()

    def must_go_alone(self, topic: str, payload: bytes) -> bool:
        """Say how a message may go now.

        Raises TopicDenied or HeldBack while it has to wait, MessageRefused when it is no use.
        """
        if not self.suspicious:
            return False
        now, mark = self._clock(), _mark(topic, payload)
        message, broken = self._suspects.get(mark), self._topics.get(topic)
        if message is not None and now < message.until:
            if message.refused:
                raise MessageRefused(REFUSED)
            if broken is None:
                raise HeldBack("the broker closed the connection on this", message.until - now)
        # One message alone may have made its topic look bad: any other one is the proof.
        if broken is not None and now < broken.until and broken.striker in (None, mark):
            raise self._held(topic, broken, broken.until - now)
        if message is None and broken is None and topic not in self._watched:
            return False
        if (left := self._unproved_for(now)) > 0 and self._needs_proof(topic, mark):
            raise HeldBack("it waits until something else has passed", left)
        return True

    def passed(self, topic: str, payload: bytes) -> None:
        """Note that the broker has taken a message: the connection is no trap."""
        self._proved = True
        self._good.add(topic)
        if self.suspicious:
            self._clear(topic, _mark(topic, payload))

    def _clear(self, topic: str, mark: bytes) -> None:
        """Drop what was suspected of a message that the broker has taken."""
        self._suspects.pop(mark, None)
        self._watched.discard(topic)
        if (broken := self._topics.pop(topic, None)) is None:
            return
        for suspect in self._suspects.values():
            if suspect.topic == topic and suspect.open:
                if broken.striker is not None:
                    # However many: it is refused only when it strikes again after this.
                    suspect.own = min(suspect.own + suspect.open, STRIKES - 1)
                    suspect.until = self._clock() + HOLD.delay(suspect.own)
                suspect.open = 0
        if broken.denied:
            self.on_denied()

    def closed(self, topic: str, payload: bytes, *, alone: bool) -> bool:
        """Note that the connection was closed with a message in flight; say if that was why."""
        mark = _mark(topic, payload)
        suspect = self._suspects.pop(mark, None) or _Suspect(topic)
        self._suspects[mark] = suspect
        while len(self._suspects) > MOST_SUSPECTS:
            del self._suspects[next(iter(self._suspects))]
        if not alone:
            self._watched.add(topic)
            return False
        now = self._clock()
        if self._unproved_for(now) > 0:
            suspect.doubtful = True
            return False
        if suspect.own and topic not in self._topics:
            # Others have passed on the topic since its last strike.
            suspect.own += 1
            suspect.until = now + (REFUSED_FOR if suspect.refused else HOLD.delay(suspect.own))
            return True
        suspect.open += 1
        broken = self._topics.setdefault(topic, _Topic(mark))
        if broken.striker != mark:
            broken.striker = None
            self._good.discard(topic)
        broken.strikes += 1
        broken.until = now + HOLD.delay(broken.strikes)
        if broken.strikes == STRIKES:
            self.on_denied()
        return True

    def refuses(self, topic: str, payload: bytes) -> bool:
        """Whether a message is no use."""
        suspect = self._suspects.get(_mark(topic, payload))
        return suspect is not None and suspect.refused

    def _needs_proof(self, topic: str, mark: bytes) -> bool:
        """Whether a suspect may only go where something else has passed before."""
        message, broken = self._suspects.get(mark), self._topics.get(topic)
        if topic not in self._good and (self._good or broken is not None):
            return True
        if broken is not None and broken.striker in (None, mark):
            return True
        return message is not None and (message.doubtful or message.own > 0)

    def _unproved_for(self, now: float) -> float:
        """Return the seconds that the connection has to stand until it has proved itself."""
        return 0.0 if self._proved else self._opened_at + QUIET - now

    def _held(self, name: str, topic: _Topic, seconds: float) -> CloudError:
        if not topic.denied:
            return HeldBack(f"the broker closed the connection on {name}", seconds)
        return TopicDenied(name, seconds, one_message=topic.striker is not None)


def _mark(topic: str, payload: bytes) -> bytes:
    """Return what a message is recognised by; the message itself is not kept."""
    return hashlib.sha256(topic.encode() + b"\0" + payload).digest()
