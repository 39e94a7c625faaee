from __future__ import annotations

from server.store.complaints import AGAIN_SECONDS, Complaint


def test_what_is_wrong_is_said_once_when_it_changes_and_once_in_a_while() -> None:
    now, said = [0.0], list[str]()
    complaint = Complaint(said.append, lambda: now[0])
    assert not complaint.end()
    for number in range(3):
        complaint.make("keys", f"request {number}: unknown")
    complaint.make("clock", "request 4: another time")
    assert said == ["request 0: unknown", "request 4: another time"]
    assert complaint.reason == "clock"
    now[0] = AGAIN_SECONDS
    for number in (5, 6):
        complaint.make("clock", f"request {number}: another time")
    assert said[2:] == ["request 5: another time"]
    assert complaint.end()
    assert complaint.reason is None
    complaint.make("clock", "request 7: another time")
    assert said[3:] == ["request 7: another time"]
