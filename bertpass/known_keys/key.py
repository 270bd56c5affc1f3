"""What is done with one key of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ACTED, REFUSED, NOTHING = "acted on", "refused", "changes nothing"


@dataclass(frozen=True)
class Key:
    """``rule`` is one of ACTED, REFUSED, NOTHING; ``why`` says what the key decides, or why it decides nothing.

    ``fine`` are the values of a refused key that leave outputs as they are; null is always one of them.
    """

    rule: str
    why: str
    fine: tuple[Any, ...] = ()

    def takes(self, value: Any) -> bool:
        """Whether the value may stand in a file."""
        return self.rule != REFUSED or value is None or any(value == each and type(value) is type(each)
                                                            for each in self.fine)


def acted(why: str, *names: str) -> dict[str, Key]:
    """Keys that decide outputs and are honoured."""
    return dict.fromkeys(names, Key(ACTED, why))


def refused(why: str, *names: str, fine: tuple[Any, ...] = ()) -> dict[str, Key]:
    """Keys that are refused by name unless they have a value that changes nothing."""
    return dict.fromkeys(names, Key(REFUSED, why, fine))


def nothing(why: str, *names: str) -> dict[str, Key]:
    """Keys that are known to change no output of an encoder here."""
    return dict.fromkeys(names, Key(NOTHING, why))
