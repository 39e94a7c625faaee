"""A registry that takes the files of some projects from the jobs alone that sign them."""

from cdk8s_pypiserver import (
    AttestationsSpec,
    AttestedPublisherSpec,
    GitHubIdentitySpec,
    GoogleIdentitySpec,
    KustomizeApp,
    PyPIServerChart,
    PyPIServerSpec,
)

attestations = AttestationsSpec(
    publishers=[
        AttestedPublisherSpec(
            projects=["acme-*"], identity=GitHubIdentitySpec(repository="acme/python", workflow="release.yml")
        ),
        AttestedPublisherSpec(
            projects=["data-tools"],
            identity=GoogleIdentitySpec(email="release@acme.iam.gserviceaccount.com"),
            required=False,
        ),
    ],
    libraries="https://mirror.example.org/simple/",
)

app = KustomizeApp()
PyPIServerChart(app, "registry", PyPIServerSpec(attestations=attestations))
app.synth()
