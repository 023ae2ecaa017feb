"""The encoder and decoder of feature records: preprocessing, linear and neural cores, codebooks, and export to ONNX.

Everything is pure numpy, so that the server encodes without torch. Training is in
`engine.embedders.feature_embedders`; the uses of a codec (anomalies, drift, maps) are in `engine.latent_analysis`;
vectors of users and items are in `engine.latent_space`.
"""
