"""The format of requests and responses of the merchandising routes."""
