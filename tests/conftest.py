"""What all tests share: one thread a process, and no network."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch and numpy are imported
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"

from hypothesis import settings

# CI repeats the same examples, so that it fails for what was changed; at home every run tries new ones. No
# deadline, as a busy machine is no failure.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("home", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "home")
