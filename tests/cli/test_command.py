"""The `finetune` command as a process: help, look-ups, and what it loads."""

import statistics
import subprocess
import sys
import time

import pytest
import yaml

from finetune_api import backbones
from finetune_cli.main import COMMANDS, main
from local_runs import environment, finetune, job, write_job


def test_help_lists_every_command_with_its_own_words():
    context = main.make_context("finetune", [], resilient_parsing=True)
    for name, lazy in COMMANDS.items():
        assert main.get_command(context, name).get_short_help_str(limit=200) == lazy.help


def test_help_is_there_in_less_than_300_ms(tmp_path):
    def seconds():
        start = time.monotonic()
        assert finetune("--help", home=tmp_path).code == 0
        return time.monotonic() - start

    assert statistics.median(seconds() for _ in range(5)) < 0.3


def test_help_loads_neither_pydantic_nor_rich_nor_numpy(tmp_path):
    script = "import sys, finetune_cli.main; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    loaded = set(ran.stdout.split())
    assert "click" in loaded
    assert not loaded & {"pydantic", "yaml", "rich", "numpy", "obstore", "tensorflow", "keras"}


def test_an_unknown_command_is_a_usage_error(tmp_path):
    ended = finetune("trian", home=tmp_path)
    assert ended.code == 2
    assert "No such command 'trian'" in ended.err


def test_validate_says_what_a_good_job_is(tmp_path):
    ended = finetune("validate", str(write_job(tmp_path, job(tmp_path))), home=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert "job.yaml is valid: MobileNetV2 at 32 px, 2 workers, head (5 epochs, LBFGS)" in ended.out


def test_validate_needs_no_data_and_writes_nothing(tmp_path):
    home = tmp_path / "home"
    assert finetune("validate", str(write_job(tmp_path, job(tmp_path))), home=home).code == 0
    assert not home.exists()


def test_validate_ends_with_the_code_of_the_error(tmp_path):
    ended = finetune("validate", str(write_job(tmp_path, job(tmp_path, workers=3))), home=tmp_path)
    assert ended.code == 64
    assert ended.err.startswith("error: ")
    assert "spec.globalBatchSize" in ended.err


def test_crd_is_the_definition(tmp_path):
    found = yaml.safe_load(finetune("crd", home=tmp_path).out)
    assert (found["kind"], found["metadata"]["name"]) == (
        "CustomResourceDefinition",
        "finetunejobs.finetune.dev",
    )


def test_backbones_lists_all(tmp_path):
    lines = finetune("backbones", home=tmp_path).out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(backbones.NAMES)
    assert len(backbones.NAMES) == 40 + 5


def test_backbones_of_one_says_what_each_number_of_blocks_means(tmp_path):
    out = finetune("backbones", "InceptionV3", home=tmp_path).out
    row = next(line for line in out.splitlines() if line.startswith("blocks: 2 "))
    assert row.split()[2] == "249"
    assert "mixed8" in row


def test_an_unknown_backbone_gets_the_nearest_names(tmp_path):
    ended = finetune("backbones", "EfficentNetB0", home=tmp_path)
    assert ended.code == 64
    assert "EfficientNetB0" in ended.err


@pytest.mark.parametrize("name", ["run", "validate", "plan"])
def test_a_file_that_is_not_there(tmp_path, name):
    ended = finetune(name, str(tmp_path / "nowhere.yaml"), home=tmp_path)
    assert ended.code == 66
    assert "nowhere.yaml" in ended.err
    assert "Traceback" not in ended.err
