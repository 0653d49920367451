"""A completion, top to bottom: admission decides, a run produces, readers follow."""
