"""Jobs about machines: instances, batches of files, the search for schedules, what is installed."""
