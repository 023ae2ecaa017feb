"""How to index: recipes by name, the tuner that measures them, FAISS on a GPU, the self-test of filters."""
