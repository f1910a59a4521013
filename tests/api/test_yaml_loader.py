import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import jobs
from finetune_api import yaml_loader
from finetune_api.contract import ExitCode
from finetune_api.errors import BadJob, MissingInput


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        # Checked against sigs.k8s.io/yaml v1.6.0, which kubectl uses.
        ("1", 1),
        ("+1", 1),
        ("-0", 0),
        ("010", 8),
        ("08", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("0X1f", 31),
        ("-0b101", -5),
        ("1_000", 1000),
        ("_1", "_1"),
        ("1e-3", 0.001),
        ("1e3", 1000),
        ("1.0", 1),
        ("1.", 1),
        (".5", 0.5),
        ("-.5", -0.5),
        ("1e400", "1e400"),
        ("1e21", 1e21),
        ("0x", "0x"),
        ("0xFFFFFFFFFFFFFFFFF", "0xFFFFFFFFFFFFFFFFF"),
        ("0x1p-2", "0x1p-2"),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("60s", "60s"),
        ("yes", True),
        ("y", True),
        ("On", True),
        ("NO", False),
        ("n", False),
        ("tRue", "tRue"),
        ("None", "None"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"yes"', "yes"),
        ("!!str 1", "1"),
    ],
)
def test_a_scalar_means_what_it_means_to_kubectl(scalar: str, value: object) -> None:
    found = yaml_loader.load(f"a: {scalar}", "job.yaml")["a"]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("a: &x {k: 1, m: 2}\nb: {<<: *x, k: 3}", {"a": {"k": 1, "m": 2}, "b": {"k": 3, "m": 2}}),
        ("x: &x {k: 1}\ny: &y {k: 2, m: 2}\nb: {<<: [*x, *y]}", None),
        ("true: 1\n1: 2", {"true": 1, "1": 2}),
        ('{"a": {"b": [1.5, null]}}', {"a": {"b": [1.5, None]}}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
    ],
)
def test_structure_is_read_as_kubectl_reads_it(text: str, value: object) -> None:
    found = yaml_loader.load(text, "job.yaml")
    assert found == value if value is not None else found["b"] == {"k": 1, "m": 2}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [*{old},*{old},*{old},*{old},*{old},*{old},*{old},*{old},*{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: 1\nb: 2\na: 3", "line 3: the key a is there twice", id="the same key twice"),
        pytest.param(
            "b: {'1': 1, 1: 2}", "line 1: the key 1 is there twice", id="the same key in two spellings"
        ),
        pytest.param("a: 1\n---\na: 2", "several documents", id="two documents"),
        pytest.param("a: .nan", "line 1: .nan is not a number", id="not a number"),
        pytest.param("a: [1", "line 1, column 6 is not valid YAML", id="an open bracket"),
        pytest.param("a:\n\t- b", "line 2, column 1 is not valid YAML", id="a tab"),
        pytest.param("a: *b", "undefined alias", id="an alias of nothing"),
        pytest.param("a: &a\n  b: *a", "nested too deeply", id="an alias inside itself"),
        pytest.param("[" * 5000, "nested too deeply", id="five thousand brackets"),
        pytest.param(BOMB, "holds more than 20,000 values", id="a small file that is a large one"),
        pytest.param("a: !!python/object:os.system x", "tag", id="a tag of another language"),
        pytest.param("a: !!binary aGk=", "is not allowed", id="a tag that JSON does not have"),
        pytest.param("? [1]\n: 2", "a key must be text", id="a list as a key"),
        pytest.param("", "is empty", id="nothing"),
        pytest.param("- a", "holds no mapping", id="a list"),
        pytest.param("a: {<<: 3}", "<< needs a mapping", id="a merge of a number"),
    ],
)
def test_what_kubectl_or_the_api_server_refuses_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadJob) as caught:
        yaml_loader.load(text, "job.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("job.yaml")


# Text that YAML 1.1 takes as JSON does: without control characters, line separators and lone surrogates.
TEXT = st.text(
    st.characters(
        min_codepoint=32,
        max_codepoint=0x2FFF,
        exclude_characters="\x7f",
        exclude_categories=["Cs", "Cc", "Zl", "Zp"],
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, JSON, max_size=5))
def test_json_is_read_as_json(value: dict[str, Any]) -> None:
    assert yaml_loader.load(json.dumps(value, ensure_ascii=False), "x") == value


def test_a_job_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(jobs.document({"workers": 2})))
    assert yaml_loader.read_job(path) == jobs.job({"workers": 2})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"apiVersion: v1\nkind: Pod\n", "NotAFineTuneJob", id="a Pod"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\xff", "NotAFineTuneJob", id="an image"),
        pytest.param(b"name: digits\n", "NotAFineTuneJob", id="a mapping of something else"),
        pytest.param(b"#" * 1_000_001, "NotAFineTuneJob", id="a megabyte"),
        pytest.param(b"a: [", "InvalidYAML", id="broken YAML"),
    ],
)
def test_a_file_that_is_no_job_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    with pytest.raises(BadJob) as caught:
        yaml_loader.read_job(path)
    assert (caught.value.reason, caught.value.exit_code) == (reason, ExitCode.BAD_JOB)
    assert "job.yaml" in str(caught.value)


def test_a_missing_file_is_a_missing_input(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.yaml", tmp_path):
        with pytest.raises(MissingInput) as caught:
            yaml_loader.read_job(path)
        assert str(path) in str(caught.value)


def test_null_is_the_default_but_an_unknown_field_stays_unknown() -> None:
    assert jobs.job({"workers": None, "data.test": None}) == jobs.job()
    with pytest.raises(BadJob, match=r"spec\.tests: unknown field"):
        jobs.job({"tests": None})


def test_python_names_are_no_yaml_names() -> None:
    with pytest.raises(BadJob, match=r"spec\.global_batch_size: unknown field; did you mean globalBatchSize"):
        jobs.job({"global_batch_size": 32})
