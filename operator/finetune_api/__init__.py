"""The contract: everything that two processes of the product agree on.

Standard library, pydantic and a YAML library only; no I/O besides reading a job file. The command
line, the operator, the supervisor and the trainer all import this package and never one another.
"""
