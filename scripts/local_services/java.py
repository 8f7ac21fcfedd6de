"""Of the package, which carries it; here it stands beside what only the checkout has."""

import sys

from pyspark_vision.clients.local_services import java as carried_module
from pyspark_vision.clients.local_services.java import *  # noqa: F403

# The module itself, not a copy of its names: a test may replace one of them.
sys.modules[__name__] = carried_module
