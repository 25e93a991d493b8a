"""What all tests share: one thread a process, and no network."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch and numpy are imported
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"
