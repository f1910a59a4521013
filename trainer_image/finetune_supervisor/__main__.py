"""`python -m finetune_supervisor`: one worker's supervisor; the environment (`contract.Env`) says which."""

import asyncio
import logging
import os
import sys

from finetune_api.contract import ExitCode
from finetune_api.errors import FineTuneError
from finetune_api.progress import Progress
from finetune_supervisor import processes, report
from finetune_supervisor.messages import verdict_of
from finetune_supervisor.report import ReportFile
from finetune_supervisor.settings import Settings, termination_file
from finetune_supervisor.supervisor import supervise


def main() -> int:
    """The exit status of `contract.ExitCode`."""
    logging.basicConfig(format="%(created).3f %(message)s", level=logging.INFO, stream=sys.stderr)
    processes.inherit_orphans()
    try:
        report_file = ReportFile(termination_file(os.environ))
    except OSError as error:
        logging.error("cannot write the termination report: %s", error)
        return ExitCode.BAD_CONFIGURATION
    try:
        settings = Settings.read(os.environ)
    except FineTuneError as error:
        logging.error("%s", error)
        report_file.write(report.over(Progress(), verdict_of(error)))
        return error.exit_code
    return asyncio.new_event_loop().run_until_complete(supervise(settings, report_file))


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    # Not sys.exit: it would wait for threads that wait for a storage which does not answer.
    os._exit(status)
