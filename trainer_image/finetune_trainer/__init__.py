"""The training process: a staged fine-tune with Keras layers under MultiWorkerMirroredStrategy."""
