"""Where jobs run: one protocol, two backends (docker, process), one contract test that both pass."""
