"""Real Python that the PyTorch backend copies into generated projects, imported and tested as such."""
