"""How a server is observed: Prometheus metrics and gauges, clock skew, and log lines about outages of PostgreSQL and
full disks.
"""
