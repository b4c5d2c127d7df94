"""Messages between skiff's processes, and the rules by which they decide."""
