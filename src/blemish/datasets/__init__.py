"""Data sets: one file each, found by the registry, all handing out the same records."""
