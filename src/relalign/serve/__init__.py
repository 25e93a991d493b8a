"""Search by text or image in the results of trained runs: for a terminal, over HTTP, and on a page."""
