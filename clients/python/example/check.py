"""check.py PLACE ADDRESS: says what is to be done with an address; ends with 0 if it passes."""

import sys

from testudo_gate import Gate

place, address = sys.argv[1:]
verdict = Gate(place, fail="closed").check(address)
print(f"{verdict.action.value}: {verdict.failure or verdict.outcome}")
sys.exit(0 if verdict.passes else 1)
