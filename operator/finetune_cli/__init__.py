"""The `finetune` command: run, validate, plan and look things up, with or without a cluster."""
