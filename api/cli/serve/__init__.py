"""Commands of serving: serve (the HTTP server), index (build a generation), publish and rollback."""
