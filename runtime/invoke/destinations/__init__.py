"""Where the results of asynchronous events go: what is sent, by what it is sent, and how often it is tried."""
