"""Questions to every process of a site, and what they answer over the bus.

Nobody knows how many processes there are, so whoever asks says how long it waits, and how many
answers are enough. The own process answers first, and is the only one where there is no other.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # the node is handed over when the process is up
    from realtime.node import Node

__all__ = ["Inquiries"]

Body = Mapping[str, Any]
Answer = Callable[[Body], Awaitable[Iterable[Body]]]
"""Gives the answers of one process to a question: none, one, or several parts."""

QUESTIONS: Final = "inquiries"
MOST_ANSWERS: Final = 10_000


class _Open:
    """A question that waits for its answers."""

    def __init__(self, enough: int) -> None:
        self.answers: list[Body] = []
        self.done = asyncio.Event()
        self._enough = enough

    def take(self, answer: Body) -> None:
        self.answers.append(answer)
        if len(self.answers) >= self._enough:
            self.done.set()


class Inquiries:
    """The questions of one process, and the answers it gives to those of others."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}
        self._open: dict[int, _Open] = {}
        self._numbers = count(1)
        self._node: Node

    def bind(self, node: "Node") -> None:
        """The process is up."""
        self._node = node
        node.bus.subscribe(QUESTIONS, self._hear_question)
        node.bus.subscribe(_answers_to(node.id), self._hear_answer)

    async def stop(self) -> None:
        """The process ends."""
        self._node.bus.unsubscribe(QUESTIONS, self._hear_question)
        self._node.bus.unsubscribe(_answers_to(self._node.id), self._hear_answer)

    def answer(self, question: str, by: Answer) -> None:
        """From now on, answer a question; its body and the answers must be JSON."""
        self._answers[question] = by

    async def ask(
        self, question: str, body: Body, *, within_s: float, enough: int = MOST_ANSWERS
    ) -> list[Body]:
        """Ask all processes: their answers within that time, or the first ones that are enough."""
        own = list(await self._answers[question](body))
        if len(own) >= enough or not self._node.bus.shared:
            return own
        number, waiting = next(self._numbers), _Open(enough - len(own))
        self._open[number] = waiting
        asked = {"question": question, "body": body, "by": self._node.id, "number": number}
        self._node.bus.publish(QUESTIONS, asked)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await waiting.done.wait()
        finally:
            del self._open[number]
        return own + waiting.answers

    def _hear_question(self, asked: Body) -> None:
        if (
            asked["question"] in self._answers
        ):  # another release may ask what this one does not know
            self._node.background(self._reply(asked))

    async def _reply(self, asked: Body) -> None:
        for answer in await self._answers[asked["question"]](asked["body"]):
            reply = {"number": asked["number"], "answer": answer}
            self._node.bus.publish(_answers_to(asked["by"]), reply)

    def _hear_answer(self, reply: Body) -> None:
        waiting = self._open.get(reply["number"])  # None: it came too late
        if waiting is not None:
            waiting.take(reply["answer"])


def _answers_to(node_id: str) -> str:
    return f"answers.{node_id}"
