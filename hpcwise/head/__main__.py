"""`python -m hpcwise.head`; guarded, because the publishing process imports this module too."""

import sys

from hpcwise.head.main import main

if __name__ == "__main__":
    sys.exit(main())
