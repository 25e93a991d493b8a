"""Methods side by side: means over seeds, intervals, paired tests. Reads the results of runs, never a model."""
