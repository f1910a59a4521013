"""The private network, entered for real where this system allows it."""

import json
import os
import subprocess
import sys

import pytest

from local_runs import environment

# Prints whether it went, which devices there are then, and whether loopback works.
ENTERS = """
import json, os, socket
from finetune_cli import private_network
before = os.getuid()
entered = private_network.enter()
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
devices = sorted(name for _, name in socket.if_nameindex())
print(json.dumps([entered, devices, before == os.getuid(), os.access(".", os.W_OK)]))
"""
WITH_A_THREAD = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"


def ran(script, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def is_allowed():
    flags = ["--net"] if os.geteuid() == 0 else ["--user", "--net"]
    return subprocess.run(["unshare", *flags, "true"], capture_output=True).returncode == 0


def test_inside_there_is_loopback_alone_and_the_same_user(tmp_path):
    entered, devices, same_user, may_write = ran(ENTERS, tmp_path)
    assert entered is is_allowed()
    assert "lo" in devices
    assert entered is (devices == ["lo"])
    assert same_user
    assert may_write


def test_a_process_with_threads_stays_where_it_is(tmp_path):
    assert ran(WITH_A_THREAD + ENTERS, tmp_path)[0] is False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_alone_needs_no_network_of_its_own(tmp_path, workers):
    script = f"""
import json, types
from finetune_cli import private_network
job = types.SimpleNamespace(workers={workers}, train_uri="s3://b/i", validation_uri=None, output_uri="/m",
                            weights="none", backbone="MobileNetV2")
print(json.dumps(private_network.choose(job, None)))
"""
    notes = ran(script, tmp_path)
    assert [note[:5] for note in notes] == (["note:"] if workers > 1 else [])
