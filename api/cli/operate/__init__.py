"""Commands for operators: status, models, generations, doctor, migrate, keys."""
