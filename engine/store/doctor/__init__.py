"""The database part of `nearfield doctor`: the checks, and the normalisation of stored ids."""
