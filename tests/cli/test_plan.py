"""`finetune plan` on real folders, and the facts it is made of."""

import pytest

from finetune_api import schedule
from finetune_cli import facts, job_source, plan_view, summary
from finetune_cli.summary import Written
from local_runs import epoch, finetune, job, view, write_images, write_job


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("FINETUNE_HOME", str(tmp_path / "home"))

    def prepare(**spec):
        document = job(tmp_path, **spec)
        return job_source.read(write_job(tmp_path, document))

    return prepare


def test_plan_shows_stages_steps_and_cache(tmp_path):
    write_images(tmp_path, classes=3, each=20)
    document = job(
        tmp_path, schedule="LinearProbeThenFineTune", model={"backbone": "MobileNetV2", "weights": "none"}
    )
    ended = finetune("plan", str(write_job(tmp_path, document)), home=tmp_path / "home")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert "45 images to train on, 4 views of each, 15 to judge by, 3 classes of 15 to 15" in lines
    assert any(line.startswith("12 steps per epoch, Float32, ") for line in lines)
    head, finetune_stage = lines[-2:]
    # Kernel and bias of a dense layer from MobileNetV2's 1,280 features to 3 classes.
    assert head.split()[:6] == ["head", "5", "solved", "the", "head", "alone"]
    assert f"{(1280 + 1) * 3:,}" in head
    # 45 x 4 + 15 rows of 1,280 floats.
    assert "975.0 KiB native" in head
    assert finetune_stage.split()[:3] == ["finetune", "10", "120"]


def test_plan_without_the_images_shows_what_needs_none(tmp_path):
    ended = finetune("plan", str(write_job(tmp_path, job(tmp_path))), home=tmp_path / "home")
    assert ended.code == 0
    assert "without the images there are no steps and no cache figures" in ended.out
    assert "head      5" in ended.out or "head   5" in ended.out


def test_plan_of_a_wrong_job_ends_like_run(tmp_path):
    ended = finetune("plan", str(write_job(tmp_path, job(tmp_path))), "--workers", "3", home=tmp_path)
    assert ended.code == 64
    assert "with --workers 3" in ended.err


def test_plan_trains_nothing_and_writes_nothing(tmp_path):
    write_images(tmp_path)
    finetune("plan", str(write_job(tmp_path, job(tmp_path))), home=tmp_path / "home")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "job.yaml"]


def test_facts_count_what_the_trainer_will_see(tmp_path, prepared):
    write_images(tmp_path, classes=2, each=8)
    resolved = prepared().resolved
    found = facts.gather(resolved, facts.examine(resolved))
    assert (found.num_train, found.num_validation) == (12, 4)
    assert (found.classes, found.class_counts) == (["class0", "class1"], [6, 6])
    assert schedule.plan(resolved, found).steps_per_epoch == 3


def test_separate_validation_images_are_judged_by_and_not_split(tmp_path, prepared):
    write_images(tmp_path, each=8)
    other = tmp_path / "other"
    other.mkdir()
    judged = write_images(other, each=3)
    data = {"train": str(tmp_path / "images"), "validation": {"uri": str(judged)}}
    resolved = prepared(data=data).resolved
    found = facts.gather(resolved, facts.examine(resolved))
    assert (found.num_train, found.num_validation) == (16, 6)


@pytest.mark.parametrize(
    ("unfreeze", "expected"),
    [
        pytest.param({"blocks": 0}, 1280 * 4, id="a head: one vector of floats"),
        pytest.param({"all": True}, 224 * 224 * 3, id="everything: the pixels, as bytes"),
        pytest.param({"blocks": 1}, 7 * 7 * 160 * 4, id="one block: the cut's tensor, as floats"),
    ],
)
def test_bytes_at_a_cut(prepared, unfreeze, expected):
    model = {"backbone": "MobileNetV2", "weights": "none"}
    stage = {"name": "only", "unfreeze": unfreeze}
    resolved = prepared(model=model, stages=[stage], schedule=None).resolved
    assert facts.cut_bytes(resolved, resolved.stages[0].first_trainable) == expected


def test_lines_of_a_plan_have_no_trailing_blanks(prepared):
    assert all(line == line.rstrip() for line in plan_view.render(prepared().resolved, None))


def test_the_final_table_tells_what_each_stage_was_worth(capsys):
    from rich.console import Console

    shown = view(epochs=(epoch(0, 0, 0.91), epoch(0, 1, 0.93), epoch(1, 0, 0.97)))
    written = [Written("latest.json", 120), Written("model/1/saved_model.pb", 2**20)]
    summary.print_end(Console(width=100), shown, written, "/models/default/digits")
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert lines[:3] == [
        ["stage", "epochs", "trainable", "parameters", "val_accuracy", "seconds"],
        ["head", "2/2", "12,810", "0.9300", "3.0"],
        ["finetune", "1/3", "2,657,194", "0.9700", "1.5"],
    ]
    assert lines[3:] == [
        ["files", "written", "to", "/models/default/digits:"],
        ["latest.json", "120", "B"],
        ["model/1/saved_model.pb", "1.0", "MiB"],
    ]


@pytest.mark.parametrize(
    ("uri", "image", "expected"),
    [
        pytest.param(
            "/my models/1", "/it's.png", " '/my models/1' '/it'\"'\"'s.png'", id="quoted for a shell"
        ),
        pytest.param("file:///models/1", None, " /models/1 IMAGE", id="no example at hand"),
        pytest.param("s3://bucket/1", None, " model IMAGE", id="a copy of a remote model"),
    ],
)
def test_the_command_that_classifies(uri, image, expected):
    command = summary.classify_command("/usr/bin/python3", uri, image)
    assert command.startswith("/usr/bin/python3 -c ")
    assert command.endswith(expected)
