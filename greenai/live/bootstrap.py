"""First file that the sampler's interpreter runs: completes sys.path and enters the companion.

It runs under ``python -I``: neither the user's folder nor PYTHONPATH comes before the standard
library, so a user's ``random.py`` never runs here. What the training had on its path besides is
appended, so that an editable or vendored greenai is found.
"""

import json
import sys

sys.path.extend(entry for entry in json.loads(sys.argv[2]) if entry and entry not in sys.path)

from greenai.companion import main

main(int(sys.argv[1]))
