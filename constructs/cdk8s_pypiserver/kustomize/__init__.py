"""Charts as Kustomize folders, and concerns as Kustomize components."""
