"""For who wants a model: how far it is, how good, how fast, and what went wrong."""

from tools.dashboards.panels import (
    Json,
    Panel,
    Query,
    annotation,
    dashboard,
    series,
    share,
    stacked,
    stat,
    variable,
)

HERE = 'namespace="$namespace", finetunejob="$job"'
RATE = "[$__rate_interval]"


def _job(metric: str, by: str = "") -> str:
    """Of the job as a whole: one value, whichever pod it comes from."""
    group = f" by ({by})" if by else ""
    return f"max{group} ({metric}{{{HERE}}})"


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{HERE}}}{RATE}))"


def _now() -> list[Panel]:
    return [
        stat(
            "Phase",
            "short",
            Query(f"max by (phase) (finetune_job_phase{{{HERE}}} == 1)", "{{phase}}"),
            words=True,
        ),
        stat("Why", "short", Query(_job("finetune_job_reason", "reason"), "{{reason}}"), words=True),
        stat("Progress", "percentunit", Query(_job("finetune_job_progress_ratio"))),
        stat("Time left", "s", Query(_job("finetune_job_eta_seconds"))),
        stat("Stage", "short", Query(_job("finetune_job_stage_index"))),
        stat("Epoch of the stage", "short", Query(_job("finetune_job_epoch"))),
        stat("Best", "short", Query(_job("finetune_job_best_metric", "metric"), "{{metric}}")),
        stat("Workers up", "short", Query(_job("finetune_job_workers_ready"))),
        stat("Workers wanted", "short", Query(_job("finetune_job_workers_desired"))),
        stat("GPUs", "short", Query(_job("finetune_job_gpus"))),
        stat("Restarts", "short", Query(_job("finetune_job_restarts_total"))),
        stat("Backbone", "short", Query(_job("finetune_job_info", "backbone"), "{{backbone}}"), words=True),
    ]


def _curves() -> list[Panel]:
    return [
        series("Loss", "short", Query(_job("finetune_train_loss", "split"), "{{split}}")),
        series("Metrics", "short", Query(_job("finetune_train_metric", "split, name"), "{{split}} {{name}}")),
        series("Learning rate", "sci", Query(_job("finetune_train_learning_rate"), "learning rate")),
        share("Progress over time", Query(_job("finetune_job_progress_ratio"), "done"), width=12),
        series(
            "Weights that are trained",
            "short",
            Query(_job("finetune_train_trainable_parameters", "stage"), "{{stage}}"),
            width=12,
        ),
    ]


def _speed() -> list[Panel]:
    steps = f"sum by (le) (rate(finetune_train_step_duration_seconds_bucket{{{HERE}}}{RATE}))"
    waited = _rate("finetune_train_data_wait_seconds_total", "worker")
    spent = _rate("finetune_train_step_duration_seconds_sum", "worker")
    return [
        series(
            "Images per second",
            "short",
            Query(f"max({_rate('finetune_train_examples_total', 'worker')})", "all workers"),
        ),
        series(
            "One step",
            "s",
            *(
                Query(f"histogram_quantile({share}, {steps})", f"p{int(share * 100)}")
                for share in (0.5, 0.99)
            ),
            text="Equal on all workers, for they wait for one another.",
        ),
        share(
            "Waiting for data",
            Query(f"{waited} / ({spent} > 0)", "worker {{worker}}"),
            text="Of the steps' time. The worker that waits longest is the one that the others wait for.",
        ),
        stacked(
            "What workers do",
            "short",
            Query(_rate("finetune_train_phase_seconds_total", "phase"), "{{phase}}"),
            text="Workers in each phase.",
            width=12,
        ),
        series(
            "Feature cache",
            "bytes",
            Query(_job("finetune_train_feature_cache_bytes", "worker"), "worker {{worker}}"),
            width=6,
        ),
        series(
            "Memory",
            "bytes",
            Query(
                _job("finetune_train_device_memory_peak_bytes", "worker, device"),
                "worker {{worker}} {{device}}",
            ),
            text="Peak of the last training process that ended.",
            width=6,
        ),
    ]


def _gpu() -> list[Panel]:
    text = "Needs NVIDIA's DCGM exporter and the chart's recording rules."
    by = "worker {{worker}}"
    return [
        share("Use of GPUs", Query(f"finetune_worker:gpu_utilization:ratio{{{HERE}}}", by), text=text),
        series(
            "Memory of GPUs",
            "bytes",
            Query(f"finetune_worker:gpu_memory_used:bytes{{{HERE}}}", by),
            text=text,
        ),
        series("Power", "watt", Query(f"finetune_worker:gpu_power:watts{{{HERE}}}", by), text=text),
    ]


def _reliability() -> list[Panel]:
    saved = "finetune_checkpoint_save_duration_seconds"
    newest = f"max(finetune_checkpoint_last_timestamp_seconds{{{HERE}}} > 0)"
    return [
        series(
            "Workers",
            "short",
            Query(_job("finetune_job_workers_ready"), "up"),
            Query(_job("finetune_job_workers_desired"), "wanted"),
        ),
        series(
            "Restarts and generations",
            "short",
            Query(_job("finetune_job_restarts_total"), "restarts"),
            Query(_job("finetune_train_generation"), "generation"),
        ),
        series(
            "Training processes that ended, within an hour",
            "short",
            Query(
                f"sum by (worker, reason) (increase(finetune_train_generations_ended_total{{{HERE}}}[1h]))",
                "worker {{worker}} {{reason}}",
            ),
        ),
        series("Age of the newest checkpoint", "s", Query(f"time() - {newest}", "age")),
        series(
            "Saving",
            "s",
            Query(
                f"sum(rate({saved}_sum{{{HERE}}}{RATE})) / (sum(rate({saved}_count{{{HERE}}}{RATE})) > 0)",
                "mean",
            ),
        ),
        series("Checkpoint", "bytes", Query(_job("finetune_checkpoint_bytes"), "size")),
        series(
            "Steps done again",
            "short",
            Query(
                f"max(sum by (worker) (increase(finetune_train_repeated_steps_total{{{HERE}}}[1h])))",
                "within an hour",
            ),
        ),
        series(
            "Start of a process to its first step",
            "s",
            Query(_job("finetune_train_first_step_seconds", "worker"), "worker {{worker}}"),
        ),
        share(
            "Goodput",
            Query(f"finetune:goodput:ratio{{{HERE}}}", "goodput"),
            text="Share of the workers' time that counts.",
        ),
    ]


def job() -> Json:
    """One job."""
    stage = f"max by (namespace, finetunejob) (finetune_job_stage_index{{{HERE}}}"
    begins = f'count_values("stage", {stage})) unless count_values("stage", {stage} offset $__interval))'
    restarts = f"max(finetune_job_restarts_total{{{HERE}}}"
    marks = [
        annotation("Stages", begins, "Stage {{stage}}", "blue"),
        annotation("Restarts", f"{restarts}) > {restarts} offset $__interval)", "Restart", "orange"),
    ]
    rows = [
        ("Now", _now()),
        ("Curves", _curves()),
        ("Speed", _speed()),
        ("GPUs", _gpu()),
        ("Reliability", _reliability()),
    ]
    of_namespace = 'label_values(finetune_job_info{namespace="$namespace"}, finetunejob)'
    variables = [
        variable("namespace", "Namespace", "label_values(finetune_job_info, namespace)"),
        variable("job", "Job", of_namespace),
    ]
    return dashboard("finetune-job", "Fine-tuning: one job", rows, variables, annotations={"list": marks})
