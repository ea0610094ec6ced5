"""Image and pixel metrics, exact and streamed."""
