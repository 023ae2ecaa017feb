"""Which items may be shown: the filter language, its masks over catalogue columns, the types of attributes, and what a
request costs.
"""
