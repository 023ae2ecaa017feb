"""The uses of a model beyond recommendation: anomalies, interpolation, samples, drift, KPIs, and the 2-D map.

The models themselves are in `engine.codec` (feature records) and `engine.latent_space` (users and items).
"""
