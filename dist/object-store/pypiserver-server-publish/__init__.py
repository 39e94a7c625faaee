"""Receiving what is published, and putting it onto the volume."""
