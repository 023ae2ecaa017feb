"""How a shelf is made: one pipeline for shelves, pages, similar items, ranked items and recommendations for all users,
and its stages exclusions, filling and explanation; also popularity. Where candidates come from is in `sources`, how a
shelf is chosen from them in `shaping`, and what the stages pass to each other in `values`.
"""
