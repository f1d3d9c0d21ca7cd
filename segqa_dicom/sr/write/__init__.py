"""SR documents, one module per kind."""
