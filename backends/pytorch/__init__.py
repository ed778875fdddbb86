"""The PyTorch backend: a Program becomes a project that reads as if its user had written it, and runs without specc."""

from specc.backends.pytorch.write import emit, write

__all__ = ["emit", "write"]
