"""Pure tensor functions without variables."""
