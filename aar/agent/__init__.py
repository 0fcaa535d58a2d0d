"""The researcher: a LangGraph loop over the runner, with who proposes and why."""
