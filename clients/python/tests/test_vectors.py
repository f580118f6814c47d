"""What all clients share: clients/vectors.json."""

import json
import unittest
from pathlib import Path

from testudo_gate import GateError, Proxies
from testudo_gate._exchange import Answer, Place
from testudo_gate._guard import Pass, Stop, Visit, is_kept_back, is_page, judge
from testudo_gate._verdict import of_check, of_failure

VECTORS = json.loads((Path(__file__).resolve().parents[2] / "vectors.json").read_text("utf-8"))


class Vectors(unittest.TestCase):
    def test_addresses(self):
        for case in VECTORS["addresses"]:
            with self.subTest(case["name"]):
                proxies = Proxies(case.get("proxies", VECTORS["proxies"]))
                self.assertEqual(proxies.client(case["peer"], case["forwarded_for"]), case["client"])

    def test_bad_words(self):
        for entry in VECTORS["bad_proxies"]:
            with self.subTest(entry), self.assertRaises(ValueError):
                Proxies([entry])
        for place in VECTORS["bad_places"]:
            with self.subTest(place), self.assertRaises(ValueError):
                Place(place)

    def test_checks(self):
        for case in VECTORS["checks"]:
            with self.subTest(case["name"]):
                answer = Answer(case["status"], [], case["body"].encode())
                if case["verdict"] == "failure":
                    with self.assertRaises(GateError):
                        of_check(answer, "user" in case)
                else:
                    self.assertEqual(shown(of_check(answer, "user" in case)), case["verdict"])

    def test_failures(self):
        for case in VECTORS["failures"]:
            verdict = shown(of_failure(case["fail"] == "open", "why"))
            self.assertEqual({**verdict, **case["verdict"]}, verdict)

    def test_answers_to_guards(self):
        for case in VECTORS["gate_answers"]:
            with self.subTest(case):
                headers = [("X-Testudo-Outcome", case["outcome"])] if case["outcome"] else []
                answer = Answer(case["status"], headers, b"")
                if case["result"] == "failure":
                    with self.assertRaises(GateError):
                        judge(answer)
                    continue
                found = judge(answer)
                expected = {"pass": Pass, "stop": Stop, "refused": Stop}[case["result"]]
                self.assertIsInstance(found, expected)
                if isinstance(found, Stop):
                    self.assertEqual(found.outcome, None if case["result"] == "refused" else case["outcome"])

    def test_pages(self):
        for case in VECTORS["pages"]:
            headers = [("X-Testudo-Outcome", case["outcome"])] if case["outcome"] else []
            self.assertEqual(is_page(Answer(case["status"], headers, b"")), case["page"], case)

    def test_own_paths(self):
        for case in VECTORS["own_paths"]:
            self.assertEqual(Visit("192.0.2.1", "", "GET", case["target"], False, []).is_own, case["own"], case)

    def test_forms(self):
        for case in VECTORS["forms"]:
            visit = Visit("192.0.2.1", "", case["method"], "/", False, [("Content-Type", case["type"])])
            self.assertEqual(visit.has_form, case["is_sent"], case)

    def test_headers(self):
        for kind, kept_back in [("handed_on", (False, False)), ("handed_on_from_proxies", (True, False)), ("kept_back", (True, True))]:
            for name in VECTORS["headers"][kind]:
                self.assertEqual((is_kept_back(name, False), is_kept_back(name, True)), kept_back, name)


def shown(verdict):
    decision = verdict.decision
    return {
        "passes": verdict.passes,
        "action": verdict.action.value,
        "outcome": verdict.outcome,
        "decision": decision and {name: getattr(decision, name) for name in ["id", "type", "origin", "scenario", "seconds"]},
        "decisions": len(verdict.decisions),
    }


if __name__ == "__main__":
    unittest.main()
