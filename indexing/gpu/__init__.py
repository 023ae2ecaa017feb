"""Search on a GPU: the process that owns the device, what it holds, batching, and the client with its CPU twin."""
