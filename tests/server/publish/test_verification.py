"""Attestations are verified by another program: whatever it answers, and if it does not, no file gets in by doubt."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import webtest

from attested import attestation
from server.pod import application
from server.publish import verification
from signed import OTHER, SIGNER, rules, write_rules
from vitals import stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.pod.settings import Settings

NAME = "my_pkg-1.0.tar.gz"
BODY = b"content"
SOUND = attestation(NAME, BODY)
Answer = tuple[int, bytes]


class Verifier:
    """Answers questions as it is told."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], Answer] = lambda _: (500, b"")
        self.questions: list[dict[str, Any]] = []
        verifier = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                verifier.questions.append(question)
                status, body = verifier.answer(question)
                with contextlib.suppress(ConnectionError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def signers(self, *places: object) -> None:
        """Answer that each attestation is of the publisher at its place."""
        self.answer = lambda _: (200, json.dumps({"publishers": places}).encode())


@pytest.fixture
def verifier() -> Iterator[Verifier]:
    made = Verifier()
    yield made
    made.server.shutdown()
    made.server.server_close()


def demanding(settings: Settings, port: int, said: object, **changed: object) -> webtest.TestApp:
    path = write_rules(settings.packages_directory.parent, said)
    values: dict[str, Any] = {**vars(settings), "attestations": path, "attestations_port": port, **changed}
    return webtest.TestApp(application.create(type(settings)(**values)))


@pytest.fixture
def app(settings: Settings, verifier: Verifier, quiet: None) -> webtest.TestApp:  # noqa: ARG001
    return demanding(settings, verifier.server.server_port, rules(SIGNER, "my.pkg"))


def post(app: webtest.TestApp, attestations: object = None, name: str = NAME) -> webtest.TestResponse:
    form = {":action": "file_upload", **({"attestations": json.dumps(attestations)} if attestations else {})}
    return app.post("/", form, upload_files=[("content", name, BODY)], expect_errors=True)


def bundles(app: webtest.TestApp) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = app.get(f"/packages/{NAME}.provenance").json["attestation_bundles"]
    return found


def test_what_verifies_is_served_with_its_publisher(app: webtest.TestApp, verifier: Verifier) -> None:
    verifier.signers(0)
    assert post(app, [SOUND]).status_int == 200
    assert verifier.questions == [{"attestations": [SOUND], "publishers": [SIGNER]}]
    assert bundles(app) == [{"publisher": SIGNER, "attestations": [SOUND]}]


def test_each_publisher_has_its_attestations(settings: Settings, verifier: Verifier, quiet: None) -> None:  # noqa: ARG001
    both = {"publishers": [*rules(SIGNER, "my-pkg")["publishers"], *rules(OTHER, "*")["publishers"]]}
    app = demanding(settings, verifier.server.server_port, both)
    second, third = ({**SOUND, "number": number} for number in (2, 3))
    verifier.signers(1, 0, 1)
    assert post(app, [SOUND, second, third]).status_int == 200
    assert bundles(app) == [
        {"publisher": SIGNER, "attestations": [second]},
        {"publisher": OTHER, "attestations": [SOUND, third]},
    ]


def test_a_refusal_has_the_verifiers_words(app: webtest.TestApp, verifier: Verifier, settings: Settings) -> None:
    verifier.answer = lambda _: (403, "Attestation 1 does not verify: it is of ünknown\n".encode())
    refused = post(app, [SOUND])
    assert refused.status == "403 Attestation 1 does not verify: it is of ?nknown"
    assert refused.text == "Attestation 1 does not verify: it is of ünknown\n"
    assert stored(settings.packages_directory) == []


@pytest.mark.parametrize(
    "answer",
    [
        (200, b""),
        (200, b"[" * 50_000),
        (200, b"[0]"),
        (200, b'{"publishers": null}'),
        (200, b'{"publishers": 0}'),
        (200, b'{"publishers": []}'),
        (200, b'{"publishers": [0, 0]}'),
        (200, b'{"publishers": [1]}'),
        (200, b'{"publishers": [-1]}'),
        (200, b'{"publishers": [false]}'),
        (200, b'{"publishers": [0.0]}'),
        (200, b'{"publishers": ["0"]}'),
        (200, b'{"publishers": [0]' + b" " * 10**6 + b"}"),
        (204, b'{"publishers": [0]}'),
        (302, b""),
        (400, b"x"),
        (404, b'{"publishers": [0]}'),
        (500, b'{"publishers": [0]}'),
        (503, b"not up"),
    ],
)
def test_an_answer_that_says_neither_is_none(
    app: webtest.TestApp, verifier: Verifier, settings: Settings, answer: Answer
) -> None:
    verifier.answer = lambda _: answer
    refused = post(app, [SOUND])
    assert refused.status == "503 Nobody can verify attestations now; try again"
    assert refused.headers["Retry-After"]
    assert stored(settings.packages_directory) == []
    app.get(f"/packages/{NAME}", status=404)


def test_a_missing_one_is_refused_without_asking(app: webtest.TestApp, verifier: Verifier) -> None:
    refused = post(app)
    assert refused.status_int == 403
    assert refused.text.startswith(f"{NAME} needs an attestation of GitHub trailofbits/pypi-attestations release.yml")
    # A file of another form is of the same project.
    assert post(app, name="My.Pkg-1.0-py3-none-any.whl").status_int == 403
    assert verifier.questions == []
    assert post(app, name="my_pkg2-1.0.tar.gz").status_int == 200


def test_without_a_rule_the_form_alone_counts(app: webtest.TestApp, verifier: Verifier) -> None:
    other = "other-1.0.tar.gz"
    assert post(app, [attestation(other, BODY)], name=other).status_int == 200
    assert verifier.questions == []
    served = app.get(f"/packages/{other}.provenance").json["attestation_bundles"]
    assert [each["publisher"]["kind"] for each in served] == ["pypiserver"]


def test_what_is_there_is_said_before_anybody_is_asked(app: webtest.TestApp, verifier: Verifier) -> None:
    verifier.signers(0)
    assert post(app, [SOUND]).status_int == 200
    assert post(app, [SOUND]).status_int == 409
    assert post(app).status_int == 409
    assert len(verifier.questions) == 1


def test_what_is_there_is_removed_and_yanked_as_ever(settings: Settings, verifier: Verifier, quiet: None) -> None:  # noqa: ARG001
    app = demanding(settings, verifier.server.server_port, rules(SIGNER, "my-pkg"), allow_removal=True)
    verifier.signers(0)
    assert post(app, [SOUND]).status_int == 200
    form = {"name": "my-pkg", "version": "1.0", "reason": "old"}
    for action in ("yank", "unyank", "remove_pkg"):
        assert app.post("/", {":action": action, **form}).status_int == 200
    app.get(f"/packages/{NAME}.provenance", status=404)
    # The name can be had anew, by whom the rules say.
    assert post(app).status_int == 403
    assert post(app, [SOUND]).status_int == 200


def test_one_that_hangs_keeps_half_of_the_places(
    settings: Settings,
    verifier: Verifier,
    quiet: None,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verification, "SECONDS", 3.0)
    monkeypatch.setattr(verification, "PATIENCE_SECONDS", 0.1)
    app = demanding(settings, verifier.server.server_port, rules(SIGNER, "my-pkg"), concurrent_uploads=4)
    gate = threading.Event()
    verifier.answer = lambda _: (gate.wait(30), (200, b'{"publishers": [0]}'))[1]
    answers: list[webtest.TestResponse] = []
    asking = [threading.Thread(target=lambda: answers.append(post(app, [SOUND]))) for _ in range(2)]
    for each in asking:
        each.start()
    while len(verifier.questions) < 2:
        time.sleep(0.01)
    third = post(app, [SOUND])
    assert third.status == "503 Too many attestations are being verified; try again"
    assert post(app, name="other-1.0.tar.gz").status_int == 200
    for each in asking:
        each.join(30)
    assert [each.status_int for each in answers] == [503, 503]
    gate.set()
    verifier.signers(0)
    assert post(app, [SOUND]).status_int == 200


def test_nobody_there_is_no_leave(settings: Settings, quiet: None) -> None:  # noqa: ARG001
    app = demanding(settings, 1, rules(SIGNER, "my-pkg"))
    assert post(app, [SOUND]).status_int == 503
    assert stored(settings.packages_directory) == []
