"""The controller: FineTuneJobs in, Kubernetes objects and status out.

Gather once (I/O), decide (pure), write once (I/O).
"""
