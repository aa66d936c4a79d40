"""What is attacked: poisoned keys, a full server, missing rights, replicas, black holes.

In the short form with every change; `ATTACK=full` repeats and enlarges it.
"""

import os

IS_FULL = os.environ.get("ATTACK") == "full"
