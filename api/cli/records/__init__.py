"""Commands for spaces of feature records: import features and vectors, encode, decode, anomalies, interpolate, sample,
map, kpis, drift, compress, export.
"""
