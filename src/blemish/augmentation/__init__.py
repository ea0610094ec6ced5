"""Augmentation: changes to training images."""
