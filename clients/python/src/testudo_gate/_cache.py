"""Verdicts that hold for a moment; whoever asks the same at the same time waits for one answer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Callable, Dict, Optional, Tuple

from ._verdict import Verdict

#: The longest question whose verdict is held, in letters: it is held with it, and may be a visitor's.
MAX_KEY = 4 << 10


class _Asking:
    """A question under way."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.verdict: Optional[Verdict] = None


class Cache:
    """Up to `size` verdicts, each for `seconds`. The one that was stored first goes first. For many threads."""

    def __init__(self, seconds: float, size: int) -> None:
        self._seconds, self._size = seconds, size
        self._lock = threading.Lock()
        self._held: OrderedDict[str, Tuple[float, Verdict]] = OrderedDict()
        self._asking: Dict[str, _Asking] = {}

    def get(self, key: str, ask: Callable[[], Verdict]) -> Verdict:
        """What is held, or what `ask` says. What comes of a failure, or of a question that was refused for what is in it, is handed
        to those who wait, and not held; a question of more than `MAX_KEY` is asked each time."""
        if len(key) > MAX_KEY:
            return ask()
        with self._lock:
            held = self._held.get(key)
            if held is not None and held[0] > time.monotonic():
                return held[1]
            asking = self._asking.get(key)
            is_first = asking is None
            if asking is None:
                asking = self._asking[key] = _Asking()
        if not is_first:
            asking.done.wait()
            # None where the one that asked was interrupted.
            return asking.verdict or ask()
        try:
            verdict = asking.verdict = ask()
        finally:
            with self._lock:
                del self._asking[key]
                if asking.verdict is not None and asking.verdict.may_be_held and self._size > 0:
                    self._held.pop(key, None)
                    self._held[key] = (time.monotonic() + self._seconds, asking.verdict)
                    if len(self._held) > self._size:
                        self._held.popitem(last=False)
            asking.done.set()
        return verdict

    def __len__(self) -> int:
        return len(self._held)
