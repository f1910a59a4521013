"""`python -m finetune_operator`."""

import sys

from finetune_operator.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
