"""Renders the map of a latent space (`engine.latent.latent_map`) as an HTML page or a PNG."""
