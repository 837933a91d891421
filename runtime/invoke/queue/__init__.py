"""The durable queue of asynchronous events: what is kept, how it is stored, and in which order it is taken out."""
