"""MLIR: networks through the generated PyTorch modules, samplers through their ONNX graphs."""

from specc.backends.mlir.coverage import MissingExtraError, UnsupportedError
from specc.backends.mlir.write import write

__all__ = ["MissingExtraError", "UnsupportedError", "write"]
