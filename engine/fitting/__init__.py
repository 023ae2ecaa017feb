"""The one way to fit an embedder: memory is estimated first, progress is told pass by pass."""
