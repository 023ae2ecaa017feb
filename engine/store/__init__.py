"""PostgreSQL, one file per subject and one function per query. The only place with SQL, beside `migrations`."""
