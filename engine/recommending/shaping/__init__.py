"""How the items of a shelf are chosen among its candidates: one stage per file, registered in `registry` in the order
in which they act. A stage only chooses and reorders; the pipeline gives it more candidates until the shelf is full.
"""
