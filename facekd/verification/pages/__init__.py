"""Pages of results: one self-contained HTML file each."""
