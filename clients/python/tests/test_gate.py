"""The client against a real gate, and against something that only pretends to be one.

Where they listen stands in TESTUDO_GATE, TESTUDO_GATE_SOCKET and TESTUDO_STAND_IN; tests/clients/run starts them.
"""

import asyncio
import logging
import os
import threading
import unittest
import uuid

from test_vectors import VECTORS

from testudo_gate import Action, Gate, Verdict
from testudo_gate._cache import Cache
from testudo_gate._exchange import Answer, Place, exchange, exchange_async, request
from testudo_gate._verdict import of_check

logging.getLogger("testudo_gate").addHandler(logging.NullHandler())
logging.getLogger("testudo_gate").propagate = False

STAND_IN = os.environ.get("TESTUDO_STAND_IN")
GATE = os.environ.get("TESTUDO_GATE")
SOCKET = os.environ.get("TESTUDO_GATE_SOCKET")
CLEAN = VECTORS["checks"][0]["body"]


class Words(unittest.TestCase):
    def test_what_cannot_be(self):
        for given in [{"fail": "maybe"}, {"fail": "open", "timeout": 0}, {"fail": "open", "timeout": float("nan")}]:
            with self.subTest(given), self.assertRaises(ValueError):
                Gate(**given)
        with self.assertRaises(TypeError):
            Gate("127.0.0.1:9740")
        with self.assertRaises(ValueError):
            Gate(fail="open").check("192.0.2", user="alice")
        with self.assertRaises(ValueError):
            Gate(fail="open").check()

    def test_memory_is_bounded(self):
        cache = Cache(60, 3)
        for number in range(9):
            cache.get(str(number), lambda: Verdict(True, Action.PASS, "clean"))
        self.assertEqual(len(cache), 3)
        none = Cache(60, 0)
        none.get("1", lambda: Verdict(True, Action.PASS, "clean"))
        self.assertEqual(len(none), 0)

    def test_what_is_not_held(self):
        answers = {"400": "", "413": "", "414": "", "431": "", "200": CLEAN}
        cache = Cache(60, 100)
        for status, body in answers.items():
            cache.get(status, lambda: of_check(Answer(int(status), [], body.encode()), False))
        self.assertEqual(len(cache), 1, "what was refused is not held")
        for length, held in [(4 << 10, 2), ((4 << 10) + 1, 2)]:
            cache.get("a" * length, lambda: Verdict(True, Action.PASS, "clean"))
            self.assertEqual(len(cache), held, length)


    def test_what_the_gate_would_not_take(self):
        # Nobody listens: what is sent is a failure, by which everybody passes.
        gate = Gate("127.0.0.1:1", fail="open")
        for case in VECTORS["questions"]["targets"]:
            verdict = gate.check("192.0.2.1", target="/".ljust(case["length"], "a"))
            expected = (True, "unchecked") if case["is_sent"] else (False, "refused")
            self.assertEqual((verdict.passes, verdict.outcome), expected, case)


@unittest.skipUnless(STAND_IN, "no TESTUDO_STAND_IN")
class Faults(unittest.TestCase):
    def test_the_stand_in(self):
        verdict = Gate(STAND_IN, fail="closed").check("192.0.2.1", host="ok.fault")
        self.assertEqual((verdict.passes, verdict.failure), (True, None))

    def test_faults(self):
        for fault in VECTORS["faults"]:
            for fail, passes in [("open", True), ("closed", False)]:
                with self.subTest(fault, fail=fail):
                    place = "127.0.0.1:1" if fault == "refuse" else STAND_IN
                    verdict = Gate(place, fail=fail, timeout=0.3).check("192.0.2.1", host=f"{fault}.fault")
                    self.assertEqual((verdict.passes, verdict.failure is not None), (passes, True))

    def test_an_answer_before_the_end_of_the_question(self):
        question = request("POST", "/", [("Host", "early.fault")], b"a" * (8 << 20))
        for _ in range(20):
            self.assertEqual(exchange(Place(STAND_IN), question, 5).status, 200)
            self.assertEqual(asyncio.run(exchange_async(Place(STAND_IN), question, 5)).status, 200)

    def test_one_question_for_many(self):
        gate, host = Gate(STAND_IN, fail="closed", timeout=5, cache_seconds=60), f"count-{uuid.uuid4()}.fault"
        seen = []
        threads = [threading.Thread(target=lambda: seen.append(gate.check("192.0.2.1", host=host))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seen.append(gate.check("::ffff:192.0.2.1", host=host))
        self.assertEqual([verdict.decision.seconds for verdict in seen], [1] * 17)
        self.assertEqual(gate.check("192.0.2.1", host=host, target="/x").decision.seconds, 2)

    def test_a_failure_is_not_held(self):
        gate = Gate(STAND_IN, fail="closed", timeout=0.05, cache_seconds=60)
        host = f"count-{uuid.uuid4()}.fault"
        self.assertIsNotNone(gate.check("192.0.2.1", host=host).failure)
        gate._timeout = 5
        self.assertIsNone(gate.check("192.0.2.1", host=host).failure)

    def test_nothing_is_held(self):
        gate, host = Gate(STAND_IN, fail="closed", timeout=5, cache_seconds=0), f"count-{uuid.uuid4()}.fault"
        self.assertEqual([gate.check("192.0.2.1", host=host).decision.seconds for _ in range(2)], [1, 2])


@unittest.skipUnless(GATE and SOCKET, "no TESTUDO_GATE")
class RealGate(unittest.TestCase):
    def test_actions(self):
        gate = Gate(GATE, fail="closed")
        for address, more, action in [
            ("192.0.2.9", {}, Action.PASS),
            ("192.0.2.10", {}, Action.BAN),
            ("::ffff:192.0.2.10", {}, Action.BAN),
            ("2001:db8::7", {}, Action.BAN),
            ("192.0.2.11", {}, Action.CAPTCHA),
            ("192.0.2.13", {"method": "POST"}, Action.RESTRICT),
            ("192.0.2.13", {"target": "/a?b=c&d"}, Action.PASS),
            ("192.0.2.14", {}, Action.HEADER),
            ("192.0.2.15", {}, Action.PASS),
        ]:
            with self.subTest(address, **more):
                self.assertEqual(gate.check(address, **more).action, action)
        self.assertFalse(gate.check("192.0.2.17").passes, "a second factor")
        for address in ["192.0.2.9", None]:
            self.assertEqual(gate.check(address, user="Alice").action, Action.BAN)
            self.assertEqual(gate.check(address, user="bob").action, Action.PASS)
        decision = gate.check("192.0.2.10").decision
        self.assertEqual((decision.type, decision.origin, decision.scenario), ("ban", "local", "example/probing"))
        for case in VECTORS["questions"]["targets"]:
            target = "/".ljust(case["length"], "a")
            self.assertEqual(gate.check("192.0.2.9", target=target).passes, case["is_sent"], case)

    def test_a_socket(self):
        self.assertEqual(Gate(SOCKET, fail="closed").check("192.0.2.10").action, Action.BAN)


if __name__ == "__main__":
    unittest.main()
