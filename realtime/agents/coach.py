"""What the reference agent makes of what it hears: pure, the time is an argument.

It notices who clicks in a hurry and who has fallen still, and has a word for each; but never two
words to one person within the cooldown, and one only for each stillness.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Advice", "Coach", "Temper"]

CLICK: Final = "click"
HURRY: Final = "Nothing is lost: one click is enough, the hub has heard it."
STILL: Final = "Still there? Press a key, or look around: the world is waiting."


@dataclass(frozen=True, slots=True, kw_only=True)
class Temper:
    """When the coach speaks; times in seconds."""

    clicks: int = 8
    """So many clicks ..."""
    within_s: float = 3.0
    """... in so long are a hurry."""
    still_s: float = 60.0
    """Without any action, somebody who was active is still."""
    cooldown_s: float = 60.0
    """Between two words to one person."""
    people: int = 10_000
    """How many are remembered; who acted longest ago is forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A word to say, with why, and the action that it answers or an empty text."""

    user_id: str
    message: str
    reason: str
    in_reply_to: str = ""


@dataclass(slots=True)
class _Person:
    """When somebody acted last, and the times of the last clicks."""

    acted_at: float
    clicks: deque[float] = field(default_factory=deque)


class Coach:
    """Remembers people, and gives advice."""

    def __init__(self, temper: Temper | None = None) -> None:
        self.temper = temper or Temper()
        self._people: OrderedDict[str, _Person] = OrderedDict()  # longest still first
        self._advised: OrderedDict[str, float] = OrderedDict()  # longest ago first

    def saw(self, action: Mapping[str, Any], *, now: float) -> Advice | None:
        """An ``action_update`` came; what to say about it, if anything. ``now`` never goes back."""
        user_id = action["user_id"]
        person = self._people.get(user_id)
        if person is None:
            person = self._people[user_id] = _Person(now)
            if len(self._people) > self.temper.people:
                self._people.popitem(last=False)
        person.acted_at = now
        self._people.move_to_end(user_id)
        if action["type"] != CLICK or not self._is_hurry(person, now):
            return None
        return self._advise(user_id, HURRY, "rapid_clicking", now, in_reply_to=action["id"])

    def look_around(self, *, now: float) -> list[Advice]:
        """What to say to those who have fallen still. Whoever was told is forgotten."""
        advice = []
        for user_id, person in list(self._people.items()):
            if now - person.acted_at < self.temper.still_s:
                break
            word = self._advise(user_id, STILL, "idle", now)
            if word is not None:
                advice.append(word)
                del self._people[user_id]
        return advice

    def forget(self, user_id: str) -> None:
        """Somebody is not there any more; harmless for a stranger."""
        self._people.pop(user_id, None)

    def _is_hurry(self, person: _Person, now: float) -> bool:
        clicks = person.clicks
        clicks.append(now)
        while clicks[0] < now - self.temper.within_s or len(clicks) > self.temper.clicks:
            clicks.popleft()
        return len(clicks) == self.temper.clicks

    def _advise(
        self, user_id: str, message: str, reason: str, now: float, *, in_reply_to: str = ""
    ) -> Advice | None:
        while self._advised and next(iter(self._advised.values())) <= now - self.temper.cooldown_s:
            self._advised.popitem(last=False)
        if user_id in self._advised:
            return None
        self._advised[user_id] = now
        return Advice(user_id=user_id, message=message, reason=reason, in_reply_to=in_reply_to)
