"""Search on a GPU: the process that uses the device, its server and client, the generations it holds, and batching.
Copying an index to a GPU is in `recipes/faiss_gpu`."""
