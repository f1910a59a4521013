"""For who runs the cluster: what goes on, who waits, what it is good for, how the operator is."""

from tools.dashboards.panels import (
    Json,
    Panel,
    Query,
    bars,
    dashboard,
    series,
    share,
    stacked,
    stat,
    table,
    variable,
)

HERE = 'namespace=~"$namespace"'
JOB = "namespace, finetunejob"
BUSY = "Running|Restarting|Exporting"
WAITING = "Pending|Queued|Starting"


def _in_phase(phases: str) -> str:
    return f'max by ({JOB}) (finetune_job_phase{{{HERE}, phase=~"{phases}"}}) == 1'


def _of_jobs(metric: str, selector: str = "") -> str:
    """One value for each job, also while two replicas of the operator show it."""
    return f"max by ({JOB}) ({metric}{{{HERE}{selector}}})"


def _ended(result: str) -> str:
    day = f"time() - {_of_jobs('finetune_job_completion_timestamp_seconds')} < 86400"
    return f'max by ({JOB}, reason) (finetune_job_reason{{{HERE}, phase=~"{result}"}}) and on ({JOB}) {day}'


def _quantiles(metric: str, by: str = "") -> list[Query]:
    group = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    return [
        Query(
            f"histogram_quantile({share}, sum by ({group}) (rate({metric}_bucket{{{HERE}}}[6h])))",
            f"{legend}p{int(share * 100)}",
        )
        for share in (0.5, 0.95)
    ]


def _latency(metric: str, by: str) -> Query:
    rate = f"sum by (le, {by}) (rate({metric}_bucket[$__rate_interval]))"
    return Query(f"histogram_quantile(0.95, {rate})", f"{{{{{by}}}}}")


def _phases(phases: str) -> Query:
    jobs = f'max by (namespace, phase) (finetune_operator_jobs{{{HERE}, phase=~"{phases}"}})'
    return Query(f"sum({jobs}) or vector(0)")


def _gpus(phases: str) -> Query:
    return Query(f"sum({_of_jobs('finetune_job_gpus')} and on ({JOB}) {_in_phase(phases)}) or vector(0)")


def _now() -> list[Panel]:
    jobs = f"max by (namespace, phase) (finetune_operator_jobs{{{HERE}}})"
    failures = f"count({_ended('Failed')}) / count({_ended('Complete|Failed')})"
    waited = f"(time() - {_of_jobs('finetune_job_created_timestamp_seconds')})"
    why = f'max by ({JOB}, phase, reason) (finetune_job_reason{{{HERE}, phase=~"{WAITING}"}})'
    return [
        stat("Running", "short", _phases(BUSY)),
        stat("Waiting", "short", _phases(WAITING)),
        stat("GPUs held", "short", _gpus(BUSY), "Asked for by jobs that run."),
        stat("GPUs waited for", "short", _gpus(WAITING), "Asked for by jobs that do not run yet."),
        stat("Failed, 24 h", "percentunit", Query(failures), "Of the jobs that ended and are still there."),
        stat(
            "Version",
            "short",
            Query("max by (version) (finetune_operator_build_info)", "{{version}}"),
            words=True,
        ),
        stacked("Jobs by phase", "short", Query(f"sum by (phase) ({jobs})", "{{phase}}"), width=12),
        bars(
            "Failed in 24 hours, by reason",
            "short",
            Query(f"count by (reason) ({_ended('Failed')})", "{{reason}}"),
            width=12,
        ),
        table(
            "Waiting longest",
            Query(f"topk(20, {why} * on ({JOB}) group_left () {waited})", "waiting for", "s"),
        ),
        table(
            "Running",
            Query(f'max by ({JOB}, phase) (finetune_job_phase{{{HERE}, phase=~"{BUSY}"}}) == 1'),
            Query(
                f"{_of_jobs('finetune_job_progress_ratio')} and on ({JOB}) {_in_phase(BUSY)}",
                "progress",
                "percentunit",
            ),
            Query(
                f"{_of_jobs('finetune_job_eta_seconds')} and on ({JOB}) {_in_phase(BUSY)}", "time left", "s"
            ),
            Query(
                f"{_of_jobs('finetune_job_workers_ready')} and on ({JOB}) {_in_phase(BUSY)}",
                "workers up",
                "short",
            ),
            Query(
                f"{_of_jobs('finetune_job_workers_desired')} and on ({JOB}) {_in_phase(BUSY)}", "of", "short"
            ),
            Query(
                f"{_of_jobs('finetune_job_best_metric')} and on ({JOB}) {_in_phase(BUSY)}",
                "best",
                "percentunit",
            ),
            Query(
                f"{_of_jobs('finetune_job_restarts_total')} and on ({JOB}) {_in_phase(BUSY)}",
                "restarts",
                "short",
            ),
        ),
    ]


def _waits() -> list[Panel]:
    ended = f"sum by (result) (increase(finetune_operator_jobs_finished_total{{{HERE}}}[1h]))"
    return [
        series(
            "Queued",
            "s",
            *_quantiles("finetune_operator_job_queue_seconds"),
            text="From creation until it may start.",
            width=6,
        ),
        series(
            "Starting",
            "s",
            *_quantiles("finetune_operator_job_startup_seconds"),
            text="From the first worker's start to training.",
            width=6,
        ),
        series("Duration", "s", *_quantiles("finetune_operator_job_duration_seconds", "result"), width=6),
        series("Jobs that ended per hour", "short", Query(ended, "{{result}}"), width=6),
    ]


def _efficiency() -> list[Panel]:
    phases = f"sum by (phase) (rate(finetune_train_phase_seconds_total{{{HERE}}}[$__rate_interval]))"
    per_worker = f"sum by ({JOB}, worker) (rate(finetune_train_examples_total{{{HERE}}}[$__rate_interval]))"
    job = "{{namespace}}/{{finetunejob}}"
    return [
        stacked(
            "What workers do", "short", Query(phases, "{{phase}}"), text="Workers in each phase.", width=12
        ),
        share(
            "Goodput",
            Query(f"finetune:goodput:ratio{{{HERE}}}", job),
            text="Share of the workers' time that counts.",
            width=12,
        ),
        share(
            "Waiting for data",
            Query(f"max by ({JOB}) (finetune_worker:data_wait:ratio{{{HERE}}})", job),
            text="Of the steps' time, worst worker.",
        ),
        series(
            "Images per second",
            "short",
            Query(f"sum by (namespace) (max by ({JOB}) ({per_worker}))", "{{namespace}}"),
        ),
        share(
            "Use of GPUs",
            Query(f"finetune:gpu_utilization:ratio{{{HERE}}}", job),
            text="Needs NVIDIA's DCGM exporter.",
        ),
    ]


def _operator() -> list[Panel]:
    return [
        series("Look at a job, p95", "s", _latency("finetune_operator_reconcile_duration_seconds", "result")),
        series(
            "Errors per second",
            "short",
            Query(
                "sum by (result) (rate(finetune_operator_reconcile_errors_total[$__rate_interval]))",
                "{{result}}",
            ),
            Query("sum(rate(finetune_operator_queue_retries_total[$__rate_interval]))", "retries"),
            Query("sum(rate(finetune_operator_progress_poll_failures_total[$__rate_interval]))", "polls"),
        ),
        series(
            "Queue",
            "short",
            Query("max(finetune_operator_queue_depth)", "jobs"),
            Query("max(finetune_operator_queue_age_seconds)", "oldest, seconds"),
            Query("max(finetune_operator_loop_lag_seconds)", "event loop late, seconds"),
        ),
        series(
            "Requests to the API server per second",
            "short",
            Query(
                "sum by (verb, code) (rate(finetune_operator_api_requests_total[$__rate_interval]))",
                "{{verb}} {{code}}",
            ),
            text="429: the API server slows the operator down.",
        ),
        series(
            "Answer of the API server, p95",
            "s",
            _latency("finetune_operator_api_request_duration_seconds", "verb"),
        ),
        series(
            "Silence of watches",
            "s",
            Query("max by (kind) (finetune_operator_watch_silence_seconds)", "{{kind}}"),
            text="Above 360 s the operator is restarted.",
        ),
    ]


def fleet() -> Json:
    """All jobs."""
    rows = [("Now", _now()), ("Waits", _waits()), ("Efficiency", _efficiency()), ("Operator", _operator())]
    namespaces = variable("namespace", "Namespace", "label_values(finetune_job_info, namespace)", many=True)
    return dashboard("finetune-fleet", "Fine-tuning: all jobs", rows, [namespaces])
