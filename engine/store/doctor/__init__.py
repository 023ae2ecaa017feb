"""The database part of `nearfield doctor`: the checks, and the normalization of stored ids."""
