"""Vector search behind one contract: exact, FAISS, and our int8 inverted lists with compiled loops; also filter masks,
vector scaling by metric, and recall. Which index to use is decided in `recipes`; files on disk are in `generations`.
"""
