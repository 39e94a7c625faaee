"""Where the store has what a backup consists of."""

MANIFESTS = "manifests"
"""The folder of what each run writes: a manifest."""
FILES = "files"
"""The folder that looks like the package volume, so that anything can copy it back."""
VERSIONS = "versions"
"""The folder of what has a name that other content had before: `versions/<sha256>/<path>`."""
FOLDERS = (MANIFESTS, FILES, VERSIONS)
