"""Reports: one self-contained HTML file with pictures, and the figures as CSV and JSON.

``html.write_report`` writes the page, ``results.write_results`` the files that programs read, and
``pictures.overlay`` paints one anomaly map onto its image.
"""
