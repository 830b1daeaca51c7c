"""From a problem file to its network: traced, loops found, and split into what turns in a cycle."""
