"""One module a peer; each has ``prepare(workload, mode, **options)``, which returns a
:class:`benchmarks.worker.Runner`.
"""
