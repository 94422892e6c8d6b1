"""The paper's Tables 1 and 2 of evaluated workspaces, beside published figures."""
