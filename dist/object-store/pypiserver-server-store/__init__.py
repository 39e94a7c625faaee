"""Packages in an object store that rclone speaks with: what is there, and how it is written to."""
