"""Attestations are verified before a file is stored: a real one of PyPI's, by the program with its real library."""

from __future__ import annotations

import base64
import copy
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
import sigstore
from pypi_attestations import Distribution, Provenance
from pypi_simple import PyPISimple

from certifier import Sigstore, circleci, github, gitlab, google
from gateway_programs import make_sdist, registry, run, twine_upload
from programs import PATIENCE, wait_for
from signed import ATTESTATION, NAME, OTHER, PROJECT, SHA256, SIGNER, Verifier, changed, download, rules, write_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certifier import Identity
    from gateway_programs import Registry

PUBLISHER = ("publisher", "publisher-password")
READER = ("reader", "reader-password")
SDIST = ("acme_lib-1.0.tar.gz", b"content")
GITLAB = {"kind": "GitLab", "repository": "trailofbits/pypi-attestations", "workflow_filepath": "release.yml"}
GOOGLE = {"kind": "Google", "email": "ci@acme.example"}
CIRCLECI = {"kind": "CircleCI", "project_id": "one", "pipeline_definition_id": "two"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return download(tmp_path_factory.mktemp("downloaded"))


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    with Verifier(tmp_path_factory.mktemp("verifier")) as started:
        yield started


def demanding(directory: Path, verifier: Verifier, said: object, **environment: str) -> dict[str, str]:
    """What the server has to know."""
    path = write_rules(directory, said)
    return {"ATTESTATIONS": str(path), "ATTESTATIONS_PORT": str(verifier.port), "AUDIT": "log", **environment}


def publish(started: Registry, file: Path, attestations: object = None) -> requests.Response:
    """Publish a file as twine does, without the second that it takes to start."""
    text = attestations if isinstance(attestations, str) else json.dumps(attestations)
    form = {":action": "file_upload", **({"attestations": text} if attestations is not None else {})}
    content = {"content": (file.name, file.read_bytes())}
    return requests.post(f"{started.gateway.url}/", data=form, files=content, auth=PUBLISHER, timeout=PATIENCE)


def refusals(started: Registry) -> list[dict[str, object]]:
    """What the audit trail has of them."""
    lines = (json.loads(line) for line in started.server.log.splitlines() if line.startswith('{"audit":'))
    return [line for line in lines if line["outcome"] in {"refused", "failed"}]


def stored(started: Registry) -> list[str]:
    return sorted(path.name for path in started.server.packages.rglob("*.tar.gz*"))


def altered(text: str) -> str:
    """Something encoded of which one bit is another."""
    content = bytearray(base64.b64decode(text))
    content[len(content) // 2] ^= 1
    return base64.b64encode(content).decode()


def test_twine_publishes_and_readers_find_who_signed(verifier: Verifier, file: Path, tmp_path: Path) -> None:
    attestation = tmp_path / f"{NAME}.publish.attestation"
    attestation.write_text(json.dumps(ATTESTATION))
    (tmp_path / NAME).write_bytes(file.read_bytes())
    with registry(tmp_path / "registry", environment=demanding(tmp_path, verifier, rules(SIGNER))) as started:
        files = (tmp_path / NAME, attestation)
        options = ("--attestations",)
        done = twine_upload(tmp_path, started.gateway.url, *files, options=options, credentials=PUBLISHER)
        assert done.returncode == 0, done.stdout
        with PyPISimple(f"{started.gateway.url}/simple/", auth=READER) as client:
            (package,) = client.get_project_page(PROJECT).packages
            served = client.get_provenance(package)
    (bundle,) = served["attestation_bundles"]
    assert bundle == {"publisher": SIGNER, "attestations": [ATTESTATION]}
    # As the library reads it, and a client verifies.
    (read,) = Provenance.model_validate(served).attestation_bundles
    (one,) = read.attestations
    one.verify(read.publisher, Distribution(name=NAME, digest=SHA256), offline=True)


@pytest.mark.parametrize(
    ("attestations", "status", "reason"),
    [
        (None, 403, f"{NAME} needs an attestation of GitHub trailofbits/pypi-attestations release.yml"),
        ([changed("envelope", "signature", value=altered(ATTESTATION["envelope"]["signature"]))], 403, "signature"),
        (
            [
                changed(
                    "verification_material",
                    "certificate",
                    value=altered(ATTESTATION["verification_material"]["certificate"]),
                )
            ],
            403,
            "Attestation 1 does not verify",
        ),
        (
            [
                changed(
                    "envelope",
                    "statement",
                    value=base64.b64encode(
                        base64.b64decode(ATTESTATION["envelope"]["statement"]).replace(b"null", b" null")
                    ).decode(),
                )
            ],
            403,
            "Attestation 1 does not verify",
        ),
        (
            [
                changed(
                    "verification_material",
                    "transparency_entries",
                    value=ATTESTATION["verification_material"]["transparency_entries"] * 2,
                )
            ],
            403,
            "more than one entry of a transparency log",
        ),
        ([ATTESTATION, changed("envelope", "signature", value="eA==")], 403, "Attestation 2 does not verify"),
        ([ATTESTATION] * 9, 403, "There are 9 attestations; 8 are verified at most"),
        ([{**ATTESTATION, "more": float("inf")}], 400, "a number that is none of JSON"),
        ([{**ATTESTATION, "more": "\ud800"}], 403, "Attestation 1 does not verify"),
        ("[" * 100_000, 400, "is no JSON"),
        ("[]", 400, "empty"),
    ],
)
def test_what_does_not_verify_is_refused_and_not_stored(  # noqa: PLR0913, PLR0917
    verifier: Verifier, file: Path, demanding_registry: Registry, attestations: object, status: int, reason: str
) -> None:
    del verifier
    answer = publish(demanding_registry, file, attestations)
    assert answer.status_code == status, answer.text
    assert reason in answer.text
    assert answer.text.splitlines()[0][:100] in answer.reason
    assert stored(demanding_registry) == []
    assert demanding_registry.gateway.get(f"/simple/{PROJECT}/", *READER).status_code == 404
    last = refusals(demanding_registry)[-1]
    assert (last["outcome"], last["status"], last["file"]) == ("refused", status, NAME)
    assert str(last["reason"]) in answer.text


@pytest.fixture(scope="module")
def demanding_registry(verifier: Verifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    directory = tmp_path_factory.mktemp("demanding")
    with registry(directory / "registry", environment=demanding(directory, verifier, rules(SIGNER))) as started:
        yield started


def test_of_another_file_it_is_none(
    verifier: Verifier, demanding_registry: Registry, file: Path, tmp_path: Path
) -> None:
    del verifier
    other = tmp_path / NAME
    other.write_bytes(file.read_bytes() + b"\0")
    assert publish(demanding_registry, other, [ATTESTATION]).status_code == 400
    # A name that means the same is another in the statement.
    same = tmp_path / NAME.replace("_", "-")
    same.write_bytes(file.read_bytes())
    answer = publish(demanding_registry, same, [ATTESTATION])
    assert answer.status_code == 400
    assert f"Attestation 1 is about {NAME}" in answer.text
    assert stored(demanding_registry) == []


@pytest.mark.parametrize("by", [OTHER, {**SIGNER, "workflow": "other.yml"}, GITLAB, GOOGLE, CIRCLECI])
def test_another_identity_is_refused_by_its_name(verifier: Verifier, by: dict[str, str]) -> None:
    answer = verifier.ask([ATTESTATION], by)
    assert answer.status_code == 403
    assert "it is of https://github.com/trailofbits/pypi-attestations/.github/workflows/release.yml@" in answer.text
    assert verifier.ask([ATTESTATION], by, SIGNER).json() == {"publishers": [1]}


def test_of_two_publishers_of_a_project_either_may_sign(verifier: Verifier, file: Path, tmp_path: Path) -> None:
    both = {"publishers": [*rules(OTHER)["publishers"], *rules(SIGNER, "PyPI_*")["publishers"]]}
    with registry(tmp_path / "registry", environment=demanding(tmp_path, verifier, both)) as started:
        assert publish(started, file, [ATTESTATION, ATTESTATION]).ok
        served = started.gateway.get(f"/packages/{NAME}.provenance", *READER).json()
        assert served["attestation_bundles"] == [{"publisher": SIGNER, "attestations": [ATTESTATION, ATTESTATION]}]


def test_a_project_that_no_rule_names_goes_on_without_the_verifier(tmp_path: Path, file: Path) -> None:
    away = Verifier(tmp_path / "verifier")
    with registry(tmp_path / "registry", environment=demanding(tmp_path, away, rules(SIGNER))) as started:
        answer = publish(started, file, [ATTESTATION])
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "Nobody can verify attestations now" in answer.reason
        assert stored(started) == []
        assert refusals(started)[-1]["outcome"] == "failed"
        assert publish(started, make_sdist(tmp_path, "other", "1.0")).ok
        assert started.gateway.get("/simple/other/", *READER).ok
        away.launch().wait()
        try:
            assert publish(started, file, [ATTESTATION]).ok
        finally:
            away.kill()


def test_one_that_need_not_be_there_must_verify_if_it_is(verifier: Verifier, file: Path, tmp_path: Path) -> None:
    said = rules(OTHER, required=False)
    with registry(tmp_path / "registry", environment=demanding(tmp_path, verifier, said)) as started:
        assert publish(started, file, [ATTESTATION]).status_code == 403
        assert publish(started, file).ok


def test_while_it_hangs_uploads_are_refused_in_time_and_others_go_on(tmp_path: Path, file: Path) -> None:
    with (
        Verifier(tmp_path / "verifier") as hanging,
        registry(
            tmp_path / "registry",
            environment=demanding(tmp_path, hanging, rules(SIGNER), CONCURRENT_UPLOADS="4"),
        ) as started,
        ThreadPoolExecutor(4) as pool,
    ):
        with hanging.stopped():
            begun = time.monotonic()
            asked = [pool.submit(publish, started, file, [ATTESTATION]) for _ in range(3)]
            assert publish(started, make_sdist(tmp_path, "other", "1.0")).ok
            answers = [each.result() for each in asked]
            assert time.monotonic() - begun < 15
            assert [each.status_code for each in answers] == [503, 503, 503]
            assert stored(started) == ["other-1.0.tar.gz"]
        assert publish(started, file, [ATTESTATION]).ok


def test_a_process_that_hangs_or_dies_is_replaced(tmp_path: Path) -> None:
    with Verifier(tmp_path) as started:
        for number in (signal.SIGKILL, signal.SIGSTOP):
            (child,) = started.children()
            os.kill(child, number)
            begun = time.monotonic()
            assert started.ask([ATTESTATION], SIGNER).status_code == 503
            assert time.monotonic() - begun < 7
            assert requests.get(f"{started.url}/health", timeout=PATIENCE).ok
            started.wait()
            assert started.children() != [child]


def test_questions_wait_for_each_other(verifier: Verifier) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: verifier.ask([ATTESTATION] * 8, SIGNER), range(48)))
    assert {each.status_code for each in answers} <= {200, 503}
    assert sum(each.ok for each in answers) > 16
    assert len(verifier.children()) == 1


def test_what_is_no_question_is_refused(verifier: Verifier) -> None:
    for body in (b"", b"x", b"[" * 100_000, b"{}", b'{"attestations": 1, "publishers": 1}', b"1" * 5000):
        assert requests.post(f"{verifier.url}/verify", body, timeout=PATIENCE).status_code in {400, 403}
    assert requests.post(f"{verifier.url}/verify", b"x" * (2**20 + 1), timeout=PATIENCE).status_code == 413
    assert verifier.ask([], SIGNER).json() == {"publishers": []}
    assert verifier.ask([ATTESTATION]).status_code == 403
    assert verifier.ask([ATTESTATION], {"kind": "Banana"}).status_code == 403


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sigstore, Verifier]]:
    """A Sigstore of one's own, and a verifier that trusts it alone."""
    directory = tmp_path_factory.mktemp("ours")
    made = Sigstore()
    root = directory / "trusted_root.json"
    root.write_text(made.trusted_root)
    with Verifier(directory, ATTESTATIONS_TRUST_ROOT=str(root)) as started:
        yield made, started


def test_another_trust_root_counts_in_the_place_of_the_public_one(
    ours: tuple[Sigstore, Verifier], verifier: Verifier
) -> None:
    made, started = ours
    signed = made.attest(*SDIST, github("acme/lib", "release.yml"))
    by = {"kind": "GitHub", "repository": "acme/lib", "workflow": "release.yml"}
    assert started.ask([signed], by).json() == {"publishers": [0]}
    assert verifier.ask([signed], by).status_code == 403
    assert started.ask([ATTESTATION], SIGNER).status_code == 403


def test_the_root_of_the_public_one_is_taken_from_a_file_too(tmp_path: Path) -> None:
    stores = (each for each in (resources.files(sigstore) / "_store").iterdir() if "sigstore.dev" in each.name)
    root = tmp_path / "trusted_root.json"
    root.write_bytes((next(stores) / "trusted_root.json").read_bytes())
    with Verifier(tmp_path, ATTESTATIONS_TRUST_ROOT=str(root)) as started:
        assert started.ask([ATTESTATION], SIGNER).json() == {"publishers": [0]}


@pytest.mark.parametrize(
    ("identity", "publisher", "others"),
    [
        (
            github("acme/lib", "release.yml"),
            {"kind": "GitHub", "repository": "acme/lib", "workflow": "release.yml"},
            [
                {"repository": "acme/li"},
                {"repository": "acme/lib2"},
                {"repository": "ACME/lib"},
                {"workflow": "release.yaml"},
                {"workflow": "release.yml@refs/heads/main"},
            ],
        ),
        (
            gitlab("acme/team/lib", "ci/release.yml"),
            {"kind": "GitLab", "repository": "acme/team/lib", "workflow_filepath": "ci/release.yml"},
            [{"repository": "acme/team"}, {"workflow_filepath": "release.yml"}],
        ),
        (
            google("ci@acme.example"),
            {"kind": "Google", "email": "ci@acme.example"},
            [{"email": "ci@acme.exampl"}, {"email": "CI@acme.example"}],
        ),
        (
            circleci("one", "two", "github.com/acme/lib", "refs/heads/main"),
            {"kind": "CircleCI", "project_id": "one", "pipeline_definition_id": "two"},
            [
                {"project_id": "two"},
                {"pipeline_definition_id": "one"},
                {"vcs_origin": "github.com/acme/other"},
                {"vcs_ref": "refs/heads/other"},
            ],
        ),
    ],
    ids=["GitHub", "GitLab", "Google", "CircleCI"],
)
def test_each_kind_is_told_by_all_of_its_fields(
    ours: tuple[Sigstore, Verifier], identity: Identity, publisher: dict[str, str], others: list[dict[str, str]]
) -> None:
    made, started = ours
    signed = made.attest(*SDIST, identity)
    assert started.ask([signed], publisher).json() == {"publishers": [0]}
    for other in others:
        answer = started.ask([signed], {**publisher, **other})
        assert answer.status_code == 403, other
        assert "who is no publisher of this project" in answer.text
    # Who has the same name at another issuer is somebody else.
    name, claims = identity
    impostor = made.attest(*SDIST, (name, {**claims, "issuer": "https://issuer.example"}))
    assert started.ask([impostor], publisher).status_code == 403


@pytest.mark.parametrize("lost", ["authority", "certificates", "signatures"])
def test_each_key_of_the_trust_root_counts(ours: tuple[Sigstore, Verifier], lost: str) -> None:
    made, started = ours
    identity = github("acme/lib", "release.yml")
    by = {"kind": "GitHub", "repository": "acme/lib", "workflow": "release.yml"}
    forged = copy.copy(made)
    setattr(forged, lost, getattr(Sigstore(), lost))
    assert started.ask([forged.attest(*SDIST, identity)], by).status_code == 403
    assert started.ask([made.attest(*SDIST, identity)], by).ok


def test_a_signature_is_good_only_while_its_certificate_was(ours: tuple[Sigstore, Verifier]) -> None:
    made, started = ours
    by = {"kind": "Google", "email": "ci@acme.example"}
    statuses = {
        seconds: started.ask([made.attest(*SDIST, google(by["email"]), late_seconds=seconds)], by).status_code
        for seconds in (-1, 0, 599, 601)
    }
    assert statuses == {-1: 403, 0: 200, 599: 200, 601: 403}


@pytest.mark.parametrize("client", ["twine", "uv"])
def test_files_of_several_publishers_are_served_with_who_signed_what(
    ours: tuple[Sigstore, Verifier], tmp_path: Path, client: str
) -> None:
    made, started = ours
    first = {"kind": "GitHub", "repository": "acme/lib", "workflow": "release.yml"}
    second = {"kind": "Google", "email": "ci@acme.example"}
    said = {"publishers": [rules(each, "acme-*")["publishers"][0] for each in (first, second)]}
    sdist = make_sdist(tmp_path, "acme_lib", "1.0")
    content = sdist.read_bytes()
    slsa = "https://slsa.dev/provenance/v1"
    attested = {
        "publish": made.attest(sdist.name, content, github("acme/lib", "release.yml")),
        "slsa": made.attest(sdist.name, content, google("ci@acme.example"), predicateType=slsa, predicate={}),
    }
    for name, attestation in attested.items():
        (tmp_path / f"{sdist.name}.{name}.attestation").write_text(json.dumps(attestation))
    with registry(tmp_path / "registry", environment=demanding(tmp_path, started, said)) as here:
        files = sorted(tmp_path.glob(f"{sdist.name}*"))
        if client == "twine":
            options = ("--attestations",)
            done = twine_upload(tmp_path, here.gateway.url, *files, options=options, credentials=PUBLISHER)
        else:
            access = ("--publish-url", f"{here.gateway.url}/", "--username", PUBLISHER[0], "--password", PUBLISHER[1])
            done = run(tmp_path, "uv", "publish", *access, *map(str, files))
        assert done.returncode == 0, done.stdout
        served = here.gateway.get(f"/packages/{sdist.name}.provenance", *READER).json()
        other = make_sdist(tmp_path, "acme_lib", "2.0")
        assert publish(here, other, [attested["publish"]]).status_code == 400
    assert served["attestation_bundles"] == [
        {"publisher": first, "attestations": [attested["publish"]]},
        {"publisher": second, "attestations": [attested["slsa"]]},
    ]


@pytest.mark.parametrize("content", [None, "{}", "banana"])
def test_without_the_trust_root_nothing_is_verified(tmp_path: Path, content: str | None) -> None:
    root = tmp_path / "trusted_root.json"
    if content is not None:
        root.write_text(content)
    started = Verifier(tmp_path, ATTESTATIONS_TRUST_ROOT=str(root)).launch()
    try:
        wait_for(lambda: "the process that verifies has ended" in started.log, "its end")
        assert started.ask([ATTESTATION], SIGNER).status_code == 503
        assert requests.get(f"{started.url}/health", timeout=PATIENCE).ok
    finally:
        started.kill()


def test_libraries_are_brought_once_and_tried_for_again(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    script = (
        f"import pathlib, sys; path = pathlib.Path({str(tries)!r}); again = path.exists();"
        " path.open('a').write('x'); sys.exit(not again)"
    )
    started = Verifier(tmp_path, sys.executable, "-c", script)
    with started:
        assert tries.read_text() == "xx"
        assert "the libraries cannot be installed (1); it is tried again" in started.log
    with started:
        assert tries.read_text() == "xx"


def test_it_ends_when_the_kubelet_says_so(tmp_path: Path) -> None:
    with Verifier(tmp_path) as started:
        assert started.process
        started.process.terminate()
        assert started.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("ends", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_ends_while_it_is_asked_lets_nothing_in(tmp_path: Path, file: Path, ends: signal.Signals) -> None:
    with (
        Verifier(tmp_path / "verifier") as started,
        registry(tmp_path / "registry", environment=demanding(tmp_path, started, rules(SIGNER))) as made,
        ThreadPoolExecutor(1) as pool,
    ):
        (child,) = started.children()
        os.kill(child, signal.SIGSTOP)
        asked = pool.submit(publish, made, file, [ATTESTATION])
        wait_for(lambda: connected(started.port), "the question")
        assert started.process
        started.process.send_signal(ends)
        assert asked.result().status_code == 503
        assert stored(made) == []
        started.kill()
        started.launch().wait()
        assert publish(made, file, [ATTESTATION]).ok


def connected(port: int) -> bool:
    """Whether somebody has a connection to this port of loopback."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(each.split()[1].endswith(f":{port:04X}") and each.split()[3] == "01" for each in lines)


def test_a_volume_without_links_takes_what_verifies(verifier: Verifier, file: Path, tmp_path: Path) -> None:
    environment = demanding(tmp_path, verifier, rules(SIGNER), PUBLISH_METHOD="direct")
    with registry(tmp_path / "registry", environment=environment) as started:
        assert publish(started, file).status_code == 403
        assert stored(started) == []
        assert publish(started, file, [ATTESTATION]).ok
        served = started.gateway.get(f"/packages/{NAME}.provenance", *READER).json()
    assert [each["publisher"] for each in served["attestation_bundles"]] == [SIGNER]
