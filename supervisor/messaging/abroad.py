"""Messages in conversations that are on another host alone so far, kept by the mail.

Such a host may be lost, and with it what was said there since its conversation came home last. So a message that has
arrived there stays stored until the copy of the conversation at home shows it; if the instance has to go on by a copy
that does not, the message is delivered again. All in the supervisor's event loop.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from actors.messages import Message, MessageStatus, Receipt
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.team.registry import Registry


class Abroad:
    def __init__(self, registry: Registry, store: StateStore) -> None:
        self._registry = registry
        self._store = store
        self._said: dict[str, dict[str, Message]] = {}

    def keeps(self, receipt: Receipt) -> bool:
        """Whether what this tells of is lost with the host of its instance."""
        if receipt.status is not MessageStatus.SUBMITTED or receipt.instance_id not in self._registry:
            return False
        return self._registry.get(receipt.instance_id).record.carried

    def take(self, message: Message) -> None:
        """It has arrived, and its record stays."""
        self._said.setdefault(message.instance_id, {})[message.id] = message

    def of(self, instance_id: str) -> Mapping[str, Message]:
        """By id, in the order in which they were accepted."""
        said = self._said.get(instance_id, {})
        return dict(sorted(said.items(), key=lambda item: item[1].number))

    async def came_home(self, instance_id: str, ids: Collection[str]) -> None:
        """These are not lost with the host any more, nor what was said before: a conversation is written in order.

        Raises ``StoreError``; then they are kept.
        """
        said = list(self.of(instance_id))
        home = [at for at, message_id in enumerate(said, 1) if message_id in ids]
        if home:
            gone = said[: home[-1]]
            await self._store.save({}, [keys.message(one) for one in gone])
            self.forget(instance_id, gone)

    async def end(self, instance_id: str) -> None:
        """Nothing of what was said so far is missed any more. Raises ``StoreError``."""
        await self.came_home(instance_id, self.of(instance_id))

    def forget(self, instance_id: str, ids: Collection[str]) -> None:
        """Their records are looked after by somebody else."""
        said = self._said.get(instance_id, {})
        for one in ids:
            said.pop(one, None)
        if not said:
            self._said.pop(instance_id, None)
