"""The only code with sockets, threads and clocks: it drives one node, and hides how."""
