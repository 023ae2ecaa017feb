"""How to index: recipes by name, the tuner that measures candidates, FAISS on a GPU, the self-test of filtered search.
The searchers themselves are in `searchers`; a whole generation is built in `building`.
"""
