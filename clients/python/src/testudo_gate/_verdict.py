"""What the gate says about a visitor, read strictly: what is not understood passes nobody."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import Any, NoReturn, Optional, Tuple

from ._exchange import Answer, GateError

#: Outcomes with which a request goes on. One that is not among them is a refusal, whatever else is said.
PASSING = frozenset("clean allowed marked passed confirmed mfa slow harmless unchecked".split())

#: The largest number that JSON carries everywhere.
MAX_NUMBER = (1 << 53) - 1

#: Statuses with which a question is refused for what is in it: the visitor's doing, and no failure of the gate.
REFUSED = frozenset([400, 413, 414, 431])

#: The outcome of such a question.
REFUSED_QUESTION = "refused"


class Action(enum.Enum):
    """What is to be done with a visitor."""

    #: It goes on.
    PASS = "pass"
    #: It goes on, and the application may want to know why it is told.
    HEADER = "header"
    #: It is refused.
    BAN = "ban"
    #: It has to answer a challenge.
    CAPTCHA = "captcha"
    #: It comes too often.
    THROTTLE = "throttle"
    #: It may not do this.
    RESTRICT = "restrict"
    #: It has to show a second factor. Where it passes all the same, it is for the application to ask for it.
    MFA = "mfa"
    #: It is refused because nothing can be looked up.
    UNAVAILABLE = "unavailable"
    #: It is refused, for a reason that this version does not know.
    STOP = "stop"


_REFUSALS = {
    "banned": Action.BAN,
    "challenged": Action.CAPTCHA,
    "unconfirmed": Action.MFA,
    "unidentified": Action.MFA,
    "throttled": Action.THROTTLE,
    "restricted": Action.RESTRICT,
    "unavailable": Action.UNAVAILABLE,
}


@dataclass(frozen=True)
class Decision:
    """A decision about an address."""

    id: int
    #: Such as `ban`, `captcha`.
    type: str
    #: Who decided.
    origin: str
    #: Why.
    scenario: str
    #: How long it holds on, in seconds; None where the gate does not say, which is so in a guard.
    seconds: Optional[int]


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a visitor, and why."""

    #: Whether it goes on. Nothing else says so.
    passes: bool
    action: Action
    #: The gate's own word, such as `clean`, `banned`, `challenged`.
    outcome: str
    #: The decision that leads to it.
    decision: Optional[Decision] = None
    #: All decisions about the address.
    decisions: Tuple[Decision, ...] = ()
    #: Why the gate could not be asked; then it is the fail policy that speaks.
    failure: Optional[str] = None

    @property
    def may_be_held(self) -> bool:
        """Whether it says more than that the question did not get through."""
        return self.failure is None and self.outcome != REFUSED_QUESTION


def action_of(passes: bool, outcome: str, kind: Optional[str]) -> Action:
    """The action of an outcome, where the decision that leads to it is of this kind."""
    if passes:
        return {"marked": Action.HEADER, "mfa": Action.MFA}.get(outcome, Action.PASS)
    if outcome in _REFUSALS:
        return _REFUSALS[outcome]
    return Action.MFA if kind == "mfa" and outcome not in PASSING else Action.STOP


def of_failure(is_open: bool, failure: str) -> Verdict:
    """What holds while the gate cannot be asked."""
    if is_open:
        return Verdict(True, Action.PASS, "unchecked", failure=failure)
    return Verdict(False, Action.UNAVAILABLE, "unavailable", failure=failure)


def of_check(answer: Answer, names_user: bool) -> Verdict:
    """Reads the answer to `/check`, which was asked about a user or not. Raises `GateError`."""
    if answer.status in REFUSED:
        return Verdict(False, Action.STOP, REFUSED_QUESTION)
    if answer.status != 200:
        raise GateError(f"the gate answers a check with {answer.status}")
    try:
        found = json.loads(answer.body.decode("utf-8"), parse_constant=_refuse)
        says_pass, outcome, number = found["pass"], found["outcome"], found["decision"]
        if not isinstance(says_pass, bool) or not isinstance(outcome, str) or not isinstance(found["decisions"], list):
            raise ValueError
        if number is not None and not _is_number(number):
            raise ValueError
        decisions = tuple(_decision(entry) for entry in found["decisions"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise GateError("the gate's answer to a check cannot be read") from None
    passes = says_pass and outcome in PASSING
    # A gate that knows nothing of users says nothing of one, and so nothing about this one.
    if passes and names_user and not isinstance(found.get("user"), str):
        raise GateError("the gate's answer says nothing about the user")
    decision = next((entry for entry in decisions if entry.id == number), None)
    action = action_of(passes, outcome, decision.type if decision else None)
    return Verdict(passes, action, outcome, decision, decisions)


def _decision(entry: Any) -> Decision:
    numbers = [entry["id"], entry["seconds"]]
    texts = [entry["type"], entry["origin"], entry["scenario"]]
    if not all(map(_is_number, numbers)) or not all(isinstance(text, str) for text in texts):
        raise ValueError
    return Decision(numbers[0], texts[0], texts[1], texts[2], numbers[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER


def _refuse(_: str) -> NoReturn:
    raise ValueError
