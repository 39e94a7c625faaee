"""Takes old versions out of a registry, by rules; runs from time to time, as a Job."""
