"""Commands that run and watch a server: serve, migrate, status, models, generations, doctor, keys."""
