"""`gavn web`: a page on this machine that takes a video and gives it back with better faces."""
