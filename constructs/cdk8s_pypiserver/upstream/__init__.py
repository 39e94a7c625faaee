"""Public packages through the registry: which indexes are asked, what of them is shown, and where files are kept."""
