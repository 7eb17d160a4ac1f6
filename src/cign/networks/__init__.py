"""Building blocks of methods: class tokens, grouping, heads, ridge regression, prompts."""
