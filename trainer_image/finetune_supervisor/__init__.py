"""PID 1 of a trainer pod: it forms the gang, runs one training process per generation, and watches it.

Never imports TensorFlow, so it starts in a fraction of a second and outlives every training process.
"""
