"""How a shelf is made: one pipeline for shelves, pages, similar items, ranked items and recommendations for all users,
and its stages exclusions, filling and explanation. Where candidates come from is in `sources`, the vectors that a
search starts from in `vectors`, how a shelf is chosen from candidates in `shaping`, and the values that stages pass to
each other in `values`. What users did with items, such as popularity, is in `engine.behaviour`.
"""
