"""What the stages of a shelf pass to each other: searchers and the view, the request, rankings, the answer. No stage,
and nothing that knows HTTP, SQL or FAISS.
"""
