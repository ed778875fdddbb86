"""MLIR through the generated PyTorch modules."""

from specc.backends.mlir.write import MissingExtraError, UnsupportedError, write

__all__ = ["MissingExtraError", "UnsupportedError", "write"]
