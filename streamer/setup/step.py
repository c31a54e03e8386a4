"""One thing that `streamer init` looks at: how it is, how it is wanted, and how it becomes so. Values; nothing is done here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Literal

Action = Literal["keep", "create", "change", "not offered"]


@dataclass(frozen=True, slots=True)
class Step:
    """action: `keep` where nothing is to be done, `not offered` where the server has no such thing. found, wanted: lines of
    text, the same in form, so that they can be compared. remark: what else its reader should know."""

    about: str
    action: Action
    found: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    remark: str = ""
    carry_out: Callable[[], Awaitable[None]] | None = field(default=None, repr=False, compare=False)

    @property
    def due(self) -> bool:
        return self.action in ("create", "change")

    def diff(self) -> list[str]:
        """The lines that go (`- `) and come (`+ `)."""
        gone = [f"- {line}" for line in self.found if line not in self.wanted]
        return gone + [f"+ {line}" for line in self.wanted if line not in self.found]

    def not_offered(self, why: str) -> Step:
        """The same, on a server that has no such thing."""
        return replace(self, action="not offered", remark=why, carry_out=None)


def compared(
    about: str, found: tuple[str, ...], wanted: tuple[str, ...], carry_out: Callable[[], Awaitable[None]], remark: str = ""
) -> Step:
    """The step from `found` to `wanted`."""
    if set(found) == set(wanted):
        return Step(about, "keep", found, wanted, remark)
    return Step(about, "change" if found else "create", found, wanted, remark, carry_out)
