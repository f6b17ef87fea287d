"""Everything about tmux: its protocol, the server and its sessions, typing into a pane."""
