"""`gavn web`: a local web page that restores videos."""
