"""What a latent space with a codec is for: encode, decode, reconstruct, anomalies, interpolate, sample, drift,
figures, map, export.
"""
