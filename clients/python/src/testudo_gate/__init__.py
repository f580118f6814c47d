"""Asks Testudo's gate who may pass.

`Gate.check` is for applications that act on a verdict themselves. `testudo_gate.wsgi.Guard` and `testudo_gate.asgi.Guard`
guard a whole site, with the gate's pages and its challenge. Nothing but the standard library is needed.
"""

from ._address import Proxies
from ._client import Gate
from ._exchange import GateError
from ._verdict import Action, Decision, Verdict

__all__ = ["Action", "Decision", "Gate", "GateError", "Proxies", "Verdict"]
