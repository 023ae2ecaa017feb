"""Commands for spaces of feature records: import features and vectors, encode, decode, reconstruct, anomalies,
interpolate, sample, kpis, drift, compress, map, export.
"""
