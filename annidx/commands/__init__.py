"""One file a verb: options in, API call, printed result."""
