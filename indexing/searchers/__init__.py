"""Search behind one contract: exact, FAISS, and lists of 8-bit numbers with compiled loops; filters, metric, recall."""
