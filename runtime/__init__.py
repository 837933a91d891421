"""hotfork: AWS Lambda functions on your own machine, in forked and confined workers."""

__version__ = "0.1.0"
