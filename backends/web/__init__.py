"""A sampler as a static page."""

from specc.backends.web.ort_web import RuntimeMissingError
from specc.backends.web.write import Asked, write

__all__ = ["Asked", "RuntimeMissingError", "write"]
