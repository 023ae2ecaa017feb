"""What a server says of itself: Prometheus metrics and gauges, and the log of an outage of PostgreSQL."""
