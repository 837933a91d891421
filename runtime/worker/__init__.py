"""What runs in the zygote and in the workers it forks: nothing here is imported by the supervisor."""
