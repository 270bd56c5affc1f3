"""One module for each published table or figure."""
