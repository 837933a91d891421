"""Who calls, and whether they may: AWS's signatures (sigv4) and IAM-style policies, in files of this machine."""
