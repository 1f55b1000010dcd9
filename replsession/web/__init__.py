"""The web: cookies and URL ids, the valve, sessions of one application."""
