"""A language model as researcher: what it is shown, what it may call, and a conversation that survives kills."""
