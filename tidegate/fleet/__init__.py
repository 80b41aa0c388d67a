"""Fleet files: what people declare of their fleet, and how it is applied."""
