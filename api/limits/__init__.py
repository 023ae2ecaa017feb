"""What protects a server from its clients: the limit of concurrent requests, load shedding, deadlines, slow clients,
bodies, and the thread pools for work that may wait.
"""
