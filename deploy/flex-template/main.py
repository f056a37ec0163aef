"""What the launcher of the flex template runs: `beamscribe caption` with the template's parameters as flags."""

import sys

from beamscribe import main

if __name__ == "__main__":
    sys.exit(main(["caption", *sys.argv[1:]]))
