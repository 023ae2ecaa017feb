"""The HTTP API and the command line. `app` builds the application, `server` runs it, `deps` gives routes their
dependencies, `auth` and `auth_middleware` check keys, `problems` builds error responses. No search and no SQL is here.
"""
