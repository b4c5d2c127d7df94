"""Protocol: the messages between skiff's processes, and the pure cores that process them."""
