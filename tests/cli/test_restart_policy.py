import pytest

from finetune_cli.restart_policy import LONGEST_DELAY, Fail, Leave, Replace, Succeed, exit_code, react


@pytest.mark.parametrize(
    ("index", "code", "expected"),
    [
        pytest.param(0, 0, Succeed(), id="worker 0 leaves with 0: the manifest is committed"),
        pytest.param(1, 0, Leave(), id="another worker leaves with 0: it is not started again"),
        pytest.param(1, 64, Fail(64, "WorkerFailed"), id="a bad job ends everything"),
        pytest.param(0, 65, Fail(65, "WorkerFailed"), id="bad data ends everything"),
        pytest.param(0, 66, Fail(66, "WorkerFailed"), id="a missing input ends everything"),
        pytest.param(0, 69, Fail(69, "WorkerFailed"), id="giving up ends everything"),
        pytest.param(1, 77, Fail(77, "WorkerFailed"), id="a refused permission ends everything"),
        pytest.param(1, 78, Fail(78, "WorkerFailed"), id="a bad configuration ends everything"),
        pytest.param(0, 70, Replace(0.5, counted=True), id="an error of the supervisor's own is counted"),
        pytest.param(1, 1, Replace(0.5, counted=True), id="an unknown code is counted"),
        pytest.param(0, 75, Replace(0.5, counted=False), id="peers or storage away: not counted"),
        pytest.param(1, 143, Replace(0.5, counted=False), id="told to stop by somebody: not counted"),
        pytest.param(0, 137, Replace(0.5, counted=True), id="killed: counted"),
    ],
)
def test_reaction_to_the_first_loss(index, code, expected):
    assert react(index, code, losses=0, counted=0, limit=5) == expected


def test_the_delay_doubles_with_each_loss_up_to_a_bound():
    delays = [react(1, 75, losses, 0, 5).delay for losses in range(8)]
    assert delays == [0.5, 1, 2, 4, 8, 16, LONGEST_DELAY, LONGEST_DELAY]


def test_the_limit_of_counted_losses_ends_the_job():
    assert react(1, 137, losses=5, counted=5, limit=5) == Fail(69, "BackoffLimitExceeded")


def test_without_restarts_the_first_crash_ends_the_job():
    assert react(0, 70, losses=0, counted=0, limit=0) == Fail(69, "BackoffLimitExceeded")


def test_losses_that_are_not_counted_never_end_the_job():
    assert react(0, 75, losses=1000, counted=5, limit=5) == Replace(LONGEST_DELAY, counted=False)


@pytest.mark.parametrize(("returncode", "code"), [(0, 0), (70, 70), (-9, 137), (-15, 143)])
def test_exit_code_is_what_a_shell_would_say(returncode, code):
    assert exit_code(returncode) == code
