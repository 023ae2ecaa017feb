"""Requests and responses of the routes and commands of the latent space: encode, sample, interpolate, anomalies."""
