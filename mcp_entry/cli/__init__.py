"""The ``phalanx`` command, with which people lead a team. It owns nothing: it calls the supervisor or the runtime.

Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage. With ``--json`` stdout carries one
JSON document and nothing else.
"""
