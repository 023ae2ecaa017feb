"""The map of a latent space as an HTML page and as a picture."""
