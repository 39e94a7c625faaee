"""The package volume: whether it answers, what others do to it, and how to write to it."""
