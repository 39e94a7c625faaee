"""What the documents show is run: each fenced block has a language and, behind it, how it is tested."""

import re
from pathlib import Path

import pytest
import yaml

from cdk8s_pypiserver import PyPIServerSpec, SpecError
from documents import DOCUMENTS, blocks
from manifests import OVERLAYS, ROOT, by_kind, relative, render

# `make` runs before these tests and `make test` runs them; the cluster blocks run in tests/e2e/test_documents.py,
# test_operation.py, test_adopting.py, test_copying.py, test_kills.py, test_retention.py, test_rotation.py,
# test_tokens.py and test_trusted_publishing.py, those about moving in tests/moving/test_document.py, those about
# credentials in tests/users/test_command.py, those about images in tests/images/test_document.py.
RUN_KINDS = {
    "bash adopting",
    "bash audit",
    "bash backup",
    "bash cluster",
    "bash copying",
    "bash images",
    "bash credentials",
    "bash moving",
    "bash operation",
    "bash ldap",
    "bash packages",
    "bash retention",
    "bash rotation",
    "bash service-accounts",
    "bash tokens",
    "bash url",
    "text refusal",
    "yaml kustomization",
    "yaml mirrored",
    "yaml registry",
}
RUN_ELSEWHERE = {"bash": {"make\n"}, "bash ci": {"make test\n"}}


def test_every_block_is_run_by_a_test() -> None:
    for document in DOCUMENTS:
        for kind, text in blocks(document):
            if kind in RUN_ELSEWHERE:
                assert text in RUN_ELSEWHERE[kind]
            else:
                assert kind in RUN_KINDS or kind.startswith("python examples/")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text("utf-8")):
        path, _, heading = target.partition("#")
        if ":" in path:
            continue
        leads_to = (document.parent / path) if path else document
        assert leads_to.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", leads_to.read_text("utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, target


def test_python_is_quoted_from_an_example_that_runs() -> None:
    quoted = [(kind, text) for document in DOCUMENTS for kind, text in blocks(document) if kind.startswith("python")]
    assert quoted
    for kind, text in quoted:
        assert text in (ROOT / kind.split()[1]).read_text("utf-8")


def test_kustomizations_render(tmp_path: Path) -> None:
    shown = [text for document in DOCUMENTS for kind, text in blocks(document) if kind == "yaml kustomization"]
    assert shown
    for number, text in enumerate(shown):
        kustomization = yaml.safe_load(text)
        folder = tmp_path / str(number)
        folder.mkdir()
        for field in ("resources", "components"):
            kustomization[field] = [relative(folder, OVERLAYS / "any" / path) for path in kustomization.get(field, [])]
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        assert by_kind(render(folder), "Deployment")


def test_the_way_to_a_store_in_the_cluster_is_opened_for_all_who_need_it(tmp_path: Path) -> None:
    shown = [text for kind, text in blocks(ROOT / "docs/object-store.md") if kind == "yaml kustomization"]
    (text,) = (each for each in shown if "/spec/egress/-" in each)
    kustomization = yaml.safe_load(text)
    (added,) = (yaml.safe_load(each["patch"]) for each in kustomization["patches"])
    for field in ("resources", "components"):
        kustomization[field] = [relative(tmp_path, OVERLAYS / "any" / path) for path in kustomization[field]]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    policies = [each for each in render(tmp_path) if each["kind"] == "NetworkPolicy"]
    opened = {each["metadata"]["name"] for each in policies if added[0]["value"] in each["spec"]["egress"]}
    assert opened == {"pypiserver", *(f"pypiserver-{job}" for job in ("backup", "drill", "restore"))}


def test_a_registry_that_cannot_work_is_refused_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [block for document in DOCUMENTS for block in blocks(document)]
    ((_, registry),) = (block for block in shown if block[0] == "yaml registry")
    ((_, refusal),) = (block for block in shown if block[0] == "text refusal")
    (tmp_path / "registry.yaml").write_text(registry)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as refused:
        PyPIServerSpec.from_yaml("registry.yaml")
    assert f"{refused.value}\n" == refusal


def test_the_readme_names_every_component_and_chart() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    folders = {path.parent.relative_to(ROOT / "dist") for path in (ROOT / "dist").rglob("kustomization.yaml")}
    assert {path.name for path in folders} >= {"local", "ingress"}
    assert {path.name for path in folders if f"`{path.name}`" not in readme} == set()


def test_the_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = [text for document in DOCUMENTS for kind, text in blocks(document) if kind.startswith("bash")]
    code += [text for document in DOCUMENTS for text in re.findall(r"`([^`\n]+)`", document.read_text("utf-8"))]
    named = {target for text in code for target in re.findall(r"^make ([a-z0-9]+)", text, re.MULTILINE)}
    assert named >= {"test", "fuzz"}
    assert named <= targets
