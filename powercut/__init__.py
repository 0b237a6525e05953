"""Power cuts: every disk that one could leave behind, opened and held against what was erased."""
