"""What protects the server from overload and slow clients.

`concurrency_limit` decides how many requests run and wait. `early_rejection` applies that limit on the connection,
before the app runs; `concurrency_middleware` applies it inside the app, to requests that pass the connection while the
limit is not reached. `slow_clients` bounds the time and size of headers and of unread responses, `body_buffering` and
`body_parsing` the size and memory of bodies, `deadline` and `deadline_route` the time of a response. `executors` holds
the thread pools. Keys are checked in `api.auth`, not here.
"""
