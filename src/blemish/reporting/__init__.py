"""Reports: one self-contained HTML file with pictures."""
