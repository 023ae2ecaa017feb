"""Models that learn from feature records, one file each: pca and the autoencoders."""
