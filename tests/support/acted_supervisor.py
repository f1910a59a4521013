"""A real supervisor whose training process is the `actor`: everything else is what runs in production."""

import asyncio
import logging
import os
import sys

from finetune_supervisor import processes
from finetune_supervisor.report import ReportFile
from finetune_supervisor.settings import Settings
from finetune_supervisor.supervisor import supervise

ZYGOTE = (sys.executable, "-m", "finetune_trainer.zygote", "--cold", "--entry", "actor:main")


def main() -> int:
    """As `finetune_supervisor.__main__.main`."""
    logging.basicConfig(format="%(created).3f %(message)s", level=logging.INFO, stream=sys.stderr)
    processes.inherit_orphans()
    settings = Settings.read(os.environ)
    report_file = ReportFile(settings.termination)
    return asyncio.new_event_loop().run_until_complete(supervise(settings, report_file, ZYGOTE))


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)
