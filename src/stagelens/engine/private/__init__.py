"""A private engine: a dockerd that stagelens starts and stops, apart from the system's engine.

Its data, socket, pid file, log, bridge and containerd namespace are separate, and it reads no system
configuration, so a system engine on the same machine is not affected. It is detached from the program that
starts it and runs until `stagelens engine stop`. The public names are those of `stagelens.engine`.
"""
