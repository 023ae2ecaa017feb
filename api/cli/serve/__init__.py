"""Commands that decide what is served: serve (the HTTP server), index (build a generation), publish and rollback."""
