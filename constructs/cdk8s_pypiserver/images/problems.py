"""What goes wrong."""


class ImagesError(Exception):
    """Why images cannot be listed or locked."""
