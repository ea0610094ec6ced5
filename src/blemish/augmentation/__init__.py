"""Augmentation: changes to training images, in plain numpy."""
