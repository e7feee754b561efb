"""Programs that compute again what a receipt or a stack shows."""
