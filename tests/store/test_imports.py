"""What the supervisor imports of the store is light, and nothing is started that does not live through a fork."""

import os
import subprocess
import sys

from built_tools import ROOT


def run_python(program: str) -> str:
    path = os.pathsep.join(str(ROOT / name) for name in ("operator", "trainer_image"))
    completed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return completed.stdout.strip()


def test_the_run_folder_needs_neither_numpy_nor_the_object_storage_client() -> None:
    program = (
        "import sys, finetune_store.run_folder, finetune_store.checkpoint_index\n"
        "print([name for name in ('numpy', 'obstore', 'tensorflow') if name in sys.modules])"
    )
    assert run_python(program) == "[]"


def test_object_storage_needs_no_numpy_and_little_memory() -> None:
    program = (
        "import re, sys, finetune_store.run_folder, finetune_store.object_store\n"
        "assert 'numpy' not in sys.modules\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    assert int(run_python(program)) < 45 * 1024


def test_a_process_may_fork_after_the_import_and_use_object_storage_then() -> None:
    program = (
        "import os, threading\n"
        "import finetune_store.object_store, finetune_store.checkpoint\n"
        "from finetune_store.storage import StorageOptions, open_store\n"
        "from finetune_api.errors import TryAgain\n"
        "assert threading.active_count() == 1\n"
        "os.environ.update(AWS_ACCESS_KEY_ID='a', AWS_SECRET_ACCESS_KEY='b')\n"
        "store = open_store('s3://bucket/x', StorageOptions('http://127.0.0.1:1', patience=0.1))\n"
        "if (child := os.fork()) == 0:\n"
        "    try:\n"
        "        store.get('x')\n"
        "    except TryAgain:\n"
        "        os._exit(7)\n"
        "    os._exit(1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert run_python(program) == "7"
