"""The HTTP API and the command line. `app` builds the application, `server` runs it, `deps` gives routes what they
need, `auth` and `key_first` decide who may do what, `problems` says what went wrong. No search and no SQL is here.
"""
