"""From photos to the images that a method learns from: parts cut out, regions, the way back."""
