"""What a result looks like: curves with bands, histograms, the hardest pairs."""
