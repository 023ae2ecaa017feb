"""Where the candidates of a shelf come from: one source per file, registered in `registry`. A source ranks items for
many requests at once; it knows nothing of exclusions, shaping or filling, which the pipeline adds to every source.
"""
