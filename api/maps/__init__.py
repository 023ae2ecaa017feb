"""Renders the map of a latent space (`engine.latent_analysis.latent_map`) as an HTML page or a PNG."""
